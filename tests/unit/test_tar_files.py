"""Tar files in WebDataset's layout are a data set like a folder of the same pictures, and hostile ones are one line."""

from __future__ import annotations

import contextlib
import json
import random
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import resnet_core as rn
from command_line import in_process
from resnet_core.data import tar_files
from resnet_core.data.check import check_data
from resnet_core.data.named import dataset
from resnet_core.data.up_front import require_pictures
from resnet_core.errors import DataError, InputError
from resnet_core.preparation import Preparation
from resnet_core.training.recipe import Recipe
from shards import NAMES, pictures, pipeline, require_same, samples, write_folder, write_parquet, write_tar, write_tars


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("names", [None, NAMES], ids=["numbers", "names"])
def test_tar_files_are_the_folder_of_the_same_pictures(names: tuple[str, ...] | None, tmp_path: Path) -> None:
    folder = dataset(write_folder(tmp_path / "folder", NAMES))
    data = dataset(write_tars(tmp_path / "tars", names))
    assert data.classes == (names or ("0", "1", "2"))
    assert (len(data.train), len(data.test), data.held_out) == (25, 8, None)
    require_same(data, folder)
    require_pictures(data)
    report = check_data(data)
    assert report.bad == {}
    assert report.train.sizes == check_data(folder).train.sizes


def test_what_a_shard_is_for_is_in_its_name_or_its_folder(tmp_path: Path) -> None:
    own = dataset(write_tars(tmp_path / "flat"))
    places = {"train-000": "train/0", "train-001": "train/1", "train-002": "train/2", "test-000": "val/0"}
    layouts = {
        "folders": {name: f"{place}.tar" for name, place in places.items()},
        "words": {name: f"imagenet_{name.replace('test', 'Validation')}.of3.tar" for name in places},
        "deep": {name: f"data/v1/{name}.tar" for name in places},
    }
    for layout, found in layouts.items():
        for name, place in found.items():
            (tmp_path / layout / place).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / layout / place).write_bytes((tmp_path / "flat" / f"{name}.tar").read_bytes())
        data = dataset(tmp_path / layout)
        assert (len(data.train), len(data.test)) == (25, 8)
        require_same(data, own)
    for pattern in ("{train,test}-*.tar", "t*-00?.tar", "{train-{000..002},test-000}.tar"):
        require_same(dataset(tmp_path / "flat" / pattern), own)


def test_pictures_are_held_out_of_shards_that_are_all_for_training(tmp_path: Path) -> None:
    write_tars(tmp_path / "tars")
    pattern = tmp_path / "tars" / "train-{000..002}.tar"
    with pytest.raises(DataError, match=r"no \.tar file with labels is called test, val or validation; hold out"):
        dataset(pattern)
    data = dataset(pattern, validation=0.3, seed=1)
    assert (len(data.train) + len(data.test), data.held_out) == (25, 0.3)
    assert data.train.files is not None
    assert data.test.files is not None
    names = [path.name for path in (*data.train.files, *data.test.files)]
    assert sorted(names) == sorted(name for name, _, _ in pictures(25))
    alone = dataset(tmp_path / "tars" / "train-000.tar", validation=0.3)
    assert len(alone.train) + len(alone.test) == 8


def test_a_known_file_is_not_read_again_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    own = tar_files.part

    def noted(root: Path, name: str, stamp: tuple[int, int], **named: Any) -> Any:
        read.append(name)
        return own(root, name, stamp, **named)

    monkeypatch.setattr(tar_files, "part", noted)
    data = dataset(write_tars(tmp_path / "tars"))
    require_pictures(data)
    assert sorted(read) == ["test-000.tar", *(f"train-00{number}.tar" for number in range(3))]
    read.clear()
    again = dataset(tmp_path / "tars")
    assert again.fingerprint == data.fingerprint
    assert again.train.files is not None
    assert not len(again.train.files.unseen())
    assert read == []
    write_tar(tmp_path / "tars" / "train-001.tar", samples(pictures(5, first=40)))
    found = dataset(tmp_path / "tars")
    assert read == ["train-001.tar"]
    assert found.fingerprint != data.fingerprint
    assert found.train.files is not None
    assert len(found.train.files.unseen()) == 5
    assert len(found.train) < 25
    with pytest.raises(InputError, match=r"train-001\.tar: has changed while it was in use; start again"):
        list(pipeline(again).batches(0, 3))


def test_classes_are_in_json_too_and_other_files_are_left_alone(tmp_path: Path) -> None:
    members = []
    for name, content, label in pictures(6):
        members += [
            (f"deep/{name[:3]}.txt", b"a text"),
            (f"deep/{name[:3]}.JSON", json.dumps({"label": NAMES[label], "more": [1]}).encode()),
            (f"deep/.{name}", b"hidden"),
            (f"deep/{name[:3]}.{name[4:].upper()}", content),
        ]
    write_tar(tmp_path / "a" / "train.tar", members)
    data = dataset(tmp_path / "a", validation=0.5)
    assert data.classes == NAMES
    assert (len(data.train), len(data.test)) == (3, 3)


JPEG = pictures(1)[0][1]
SAMPLE = [("a.jpg", JPEG), ("a.cls", b"0")]


def link(path: Path, kind: bytes) -> None:
    with tarfile.open(path, "w") as archive:
        about = tarfile.TarInfo("a.jpg")
        about.type, about.linkname = kind, "/etc/passwd"
        archive.addfile(about)


def header(path: Path, size: bytes, kind: bytes = tarfile.REGTYPE, name: str = "a.jpg") -> None:
    """A file whose first header says a size that nobody wrote."""
    about = tarfile.TarInfo(name)
    about.type = kind
    block = bytearray(about.tobuf(tarfile.USTAR_FORMAT)[:512])
    block[124:136] = size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    path.write_bytes(bytes(block) + bytes(2048))


#: {what it is: (how it is written, what is said)}.
HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "not a whole tar file (empty file)"),
    "no tar": (lambda path: path.write_bytes(b"no tar file at all" * 99), "not a whole tar file"),
    "gzip": (lambda path: path.write_bytes(b"\x1f\x8b\x08" + bytes(99)), "is compressed (gzip); expected plain .tar"),
    "zstd": (lambda path: path.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(99)), "is compressed (zstd)"),
    "no pictures": (lambda path: write_tar(path, []), "no pictures"),
    "no class": (lambda path: write_tar(path, [("a.jpg", JPEG)]), "'a' has a picture and no class"),
    "no picture": (lambda path: write_tar(path, [*SAMPLE, ("b.cls", b"0")]), "'b' has a class and no picture"),
    "two": (lambda path: write_tar(path, [*SAMPLE, ("a.png", JPEG)]), "a.png is the second picture"),
    "two classes": (lambda path: write_tar(path, [*SAMPLE, ("a.json", b'{"label": 1}')]), "says the class 1, and"),
    "negative": (lambda path: write_tar(path, [("a.jpg", JPEG), ("a.cls", b"-1")]), "says the class -1"),
    "many": (lambda path: write_tar(path, [("a.jpg", JPEG), ("a.cls", b"99999999")]), "a label is 99999999"),
    "no text": (lambda path: write_tar(path, [("a.jpg", JPEG), ("a.cls", b"\xff\x00")]), "expected a class, its"),
    "no json": (lambda path: write_tar(path, [("a.jpg", JPEG), ("a.json", b"[" * 9999)]), "a.json is no JSON"),
    "a list": (lambda path: write_tar(path, [("a.jpg", JPEG), ("a.json", b'{"label": [1]}')]), "has the label '[1]'"),
    "both kinds": (
        lambda path: write_tar(path, [*SAMPLE, ("b.jpg", JPEG), ("b.cls", b"dog")]),
        "some classes are numbers, and some names such as 'dog'",
    ),
    "large class": (lambda path: write_tar(path, [("a.jpg", JPEG), ("a.cls", b"0" * 99999)]), "a class in at most"),
    "symbolic link": (lambda path: link(path, tarfile.SYMTYPE), "a.jpg is no plain file"),
    "link": (lambda path: link(path, tarfile.LNKTYPE), "a.jpg is no plain file"),
    "device": (lambda path: link(path, tarfile.CHRTYPE), "a.jpg is no plain file"),
    "pipe": (lambda path: link(path, tarfile.FIFOTYPE), "a.jpg is no plain file"),
    "nested": (lambda path: write_tar(path, [("n01440764.tar", b"")]), "n01440764.tar is a tar file in a tar file"),
    "terabytes": (lambda path: header(path, b"77777777777\0"), "not a whole tar file"),
    "exabytes": (lambda path: header(path, b"\x80" + bytes(3) + b"\x7f" * 8), "not a whole tar file"),
    "negative size": (lambda path: header(path, b"\xff" * 10 + b"\xfc\x00"), "bytes; get a fresh copy"),
    "a long name": (lambda path: header(path, b"77777777777\0", tarfile.GNUTYPE_LONGNAME), "a header at byte"),
    "a long pax": (lambda path: header(path, b"77777777777\0", tarfile.XHDTYPE), "a header at byte"),
    "a folder": (lambda path: (path / "x").mkdir(parents=True), "no file is called train"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_one_line(kind: str, tmp_path: Path) -> None:
    write, said = HOSTILE[kind]
    place = tmp_path / "tars" / "train-0.tar"
    write_tar(tmp_path / "tars" / "val-0.tar", SAMPLE)
    write(place)
    with pytest.raises(DataError) as error:
        dataset(tmp_path / "tars")
    assert said in str(error.value)
    assert str(tmp_path / "tars") in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


def test_a_file_that_is_cut_short_or_changed_is_found_or_the_same(tmp_path: Path) -> None:
    """Wherever: what is still read are whole pictures of the whole file, and what is lost is said."""
    path = write_tar(tmp_path / "a" / "train.tar", samples(pictures(6)))
    whole, rng = path.read_bytes(), random.Random(1)
    assert len(dataset(path, validation=0.4).train) == 3
    end = -(-len(whole.rstrip(b"\0")) // 512) * 512  # the mark of the end, and zeros after it
    for cut in [*range(0, end + 1, 512), end + 511, *(rng.randrange(end) for _ in range(40))]:
        path.write_bytes(whole[:cut])
        with pytest.raises(DataError, match=r"not a whole tar file .*; get a fresh copy"):
            dataset(path, validation=0.4)
    for _ in range(150):
        at = rng.randrange(len(whole))
        path.write_bytes(whole[:at] + bytes([rng.randrange(256)]) + whole[at + 1 :])
        with contextlib.suppress(InputError):  # anything else fails
            data = dataset(path, validation=0.4)
            require_pictures(data)
            read = data.train.read(np.arange(3), Preparation(size=(9, 9), channels=3, resize="stretch"))
            assert read.shape == (3, 9, 9, 3)


def test_names_that_contradict_each_other_are_one_line(tmp_path: Path) -> None:
    folder = write_tars(tmp_path / "tars")
    for name, said in (
        ("train/val.tar", "is called train and val; expected one of them"),
        ("other.tar", "does not say what it is for, and others do"),
        ("train-bad.tar", "its classes are numbers, and those of"),
    ):
        write_tar(folder / name, samples(pictures(2), NAMES))
        with pytest.raises(DataError, match=said):
            dataset(folder)
        (folder / name).unlink()
    write_tar(tmp_path / "few" / "train.tar", samples(pictures(2), NAMES))
    write_tar(tmp_path / "few" / "test.tar", samples(pictures(3), NAMES))
    with pytest.raises(DataError, match="the class 'cow' is not among those to train on: ant, bee"):
        dataset(tmp_path / "few")
    with pytest.raises(
        DataError, match=r"train-003\.tar: no such file; expected those that .*train-\{000\.\.003\}\.tar"
    ):
        dataset(folder / "train-{000..003}.tar", validation=0.2)
    with pytest.raises(DataError, match=r"stands for more than 100,000 files"):
        dataset(folder / "train-{000..999999999}.tar")
    with pytest.raises(DataError, match=r"received '.*nothing\.tar'"):
        dataset(folder / "nothing.tar")
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "train.tar.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(DataError, match=r"train\.tar\.gz: is compressed; expected plain \.tar files"):
        dataset(tmp_path / "packed")


def test_a_bad_picture_in_a_tar_file_is_named_up_front_and_by_the_command(tmp_path: Path) -> None:
    found = pictures(6)
    name, content, label = found[2]
    found[2] = (name, content[: len(content) // 2], label)
    write_tar(tmp_path / "tars" / "train.tar", samples(found))
    data = dataset(tmp_path / "tars", validation=0.4)
    with pytest.raises(DataError, match=f"1 of 6 pictures cannot be read: .*train.tar/{name}' is damaged"):
        require_pictures(data)
    process = in_process("data", tmp_path / "tars", "--validation", "0.4")
    assert process.returncode == 1
    assert f"train.tar/{name}' is damaged" in process.stderr


def test_a_run_on_tar_files_is_the_run_on_the_folder(tmp_path: Path) -> None:
    write_folder(tmp_path / "one" / "data", NAMES)
    write_tars(tmp_path / "two" / "data", NAMES)
    network = ["resnet20", "--set", "depths=[1]", "--set", "channels=[4]", "--set", "input_size=12"]
    for part in ("one", "two"):
        given = ["--data", tmp_path / part / "data", "--backend", "numpy", "--out", tmp_path / part / "run"]
        more = ["--with", "batch_size=8", "--with", "crop_area=[0.5,1]", "--epochs", "2"]
        assert in_process("train", *network, *given, *more).returncode == 0
    logs = [(tmp_path / part / "run" / "log.jsonl").read_text() for part in ("one", "two")]
    one, two = ([json.loads(line) for line in text.splitlines()] for text in logs)
    assert [record["loss"] for record in one] == [record["loss"] for record in two]
    process = in_process("evaluate", tmp_path / "two" / "run", "--json")
    assert process.returncode == 0
    assert json.loads(process.stdout)["accuracy"] == two[-1]["test_accuracy"]
    other = in_process("train", "--out", tmp_path / "two" / "run", "--resume", "--epochs", "3")
    assert other.returncode == 0, other.stderr


def test_predict_takes_shards_with_and_without_classes(tmp_path: Path) -> None:
    """Their pictures are those of the folder; one that cannot be read is named, and the others are predicted."""
    folder = write_folder(tmp_path / "folder", NAMES)
    spec = rn.spec("resnet20", depths=[1], channels=[4], classes=3, input_size=12)
    plan = Recipe(learning_rate=0.1, epochs=1, batch_size=8)
    rn.train(spec, folder, backend="numpy", out=tmp_path / "run", recipe=plan)
    found = pictures(8, first=25)
    files = [folder / "test" / NAMES[label] / name for name, _, label in found]
    expected = rn.predict(tmp_path / "run", files, backend="numpy")
    write_tar(tmp_path / "tars" / "a.tar", [(name, content) for name, content, _ in found])
    write_parquet(tmp_path / "files" / "a.parquet", found)
    for given in (tmp_path / "tars", tmp_path / "tars" / "a.tar", tmp_path / "tars" / "{a,a}.tar", tmp_path / "files"):
        told = rn.predict(tmp_path / "run", given, backend="numpy")
        assert [each.top for each in told] == [each.top for each in expected]
        assert len({each.image for each in told}) == 8
    write_tar(tmp_path / "b.tar", [("a.jpg", found[0][1]), ("b.jpg", b"no picture")])
    good, bad = rn.predict(tmp_path / "run", tmp_path / "b.tar", backend="numpy")
    assert good.error is None
    assert bad.error is not None
    assert bad.image == str(tmp_path / "b.tar" / "b.jpg")
    assert f"'{bad.image}' is not a picture" in bad.error
