"""The index of a data set's pictures: kept, found again, compared with what is there, and nothing to rely on."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnet_core.data import folders, index
from resnet_core.data.images import sample_fashion
from resnet_core.data.index import Index, Part, known, place
from resnet_core.data.named import dataset
from resnet_core.data.pictures import Pictures
from resnet_core.data.up_front import require_pictures
from resnet_core.errors import DataError

#: The last is not UTF-8.
NAMES = ["a.png", "ä.jpg", "長い 名前.png", "z.PNG", os.fsdecode(b"\xff.png")]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def made() -> Index:
    first = Part.of("train/ü", [(name, 100 + number, 2**60 + number, -1) for number, name in enumerate(NAMES)])
    shard = Part.of("b.tar", [("x", 2**40, 512, 3)], stamp=(2**41, 7), about={"classes": ["a", "b"]})
    return Index("/data/ü", "folders", [first, Part.of("empty", []), shard], {})


def same(one: Part, other: Part) -> bool:
    columns = (np.array_equal(getattr(one, name), getattr(other, name)) for name in index.COLUMNS)
    return (one.name, one.stamp, one.about) == (other.name, other.stamp, other.about) and all(columns)


def test_what_is_kept_is_found_again() -> None:
    own = made()
    own.approve(np.array([1, 4, 5]))
    own.keep()
    found = known("/data/ü", "folders")
    assert list(found) == ["train/ü", "empty", "b.tar"]
    assert all(same(found[part.name], part) for part in own.parts)
    assert found["train/ü"].pictures() == [found["train/ü"].picture(number) for number in range(5)] == NAMES
    assert found["train/ü"].good.tolist() == [0, 1, 0, 0, 1]
    assert known("/data/ü", "tar") == known("/data/u", "folders") == {}


def test_pictures_are_counted_through_the_parts() -> None:
    own = made()
    assert own.starts.tolist() == [0, 5, 5, 6]
    assert [(part.name, number) for part, number in map(own.located, range(6))] == [
        *(("train/ü", number) for number in range(5)),
        ("b.tar", 0),
    ]
    pieces = [(part.name, numbers.tolist()) for part, numbers in own.pieces(np.array([1, 3, 5]))]
    assert pieces == [("train/ü", [1, 3]), ("b.tar", [0])]
    few = Pictures(own, np.array([0, 2, 4, 5]), folders.Folders(Path("/data/ü")))
    assert [path.name for path in few] == ["a.png", NAMES[2], NAMES[4], "x"]
    few.approve(np.array([1, 3]))
    assert few.unseen().tolist() == [0, 2]


def test_what_is_damaged_is_nothing() -> None:
    own = made()
    own.keep()
    path = place("/data/ü")
    assert path is not None
    whole, rng = path.read_bytes(), random.Random(2)
    assert known("/data/ü", "folders")
    for _ in range(300):
        at = rng.randrange(len(whole))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << rng.randrange(8)]) + whole[at + 1 :])
        assert known("/data/ü", "folders") == {}
        path.write_bytes(whole[:at])
        assert known("/data/ü", "folders") == {}
    path.unlink()
    path.mkdir()
    assert known("/data/ü", "folders") == {}


def write(folder: Path) -> Path:
    pictures, _ = sample_fashion(24)
    for number, picture in enumerate(pictures):
        own = folder / ("train" if number < 16 else "val") / "ab"[number % 2]
        own.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture[..., 0]).save(own / f"{number:02}.png")
    return folder


def test_a_data_set_is_what_is_there_now(tmp_path: Path) -> None:
    """Whatever the index says: pictures that came, went, or were renamed to and fro."""
    folder = write(tmp_path / "pictures")
    before = dataset(folder)
    require_pictures(before)
    assert [len(files.unseen()) for files in (before.train.files, before.test.files) if files is not None] == [0, 0]
    again = dataset(folder)
    assert again.fingerprint == before.fingerprint
    assert again.train.files is not None
    assert all(part.good.all() for part in again.train.files.catalog.parts)
    train = folder / "train" / "a"
    (train / "00.png").rename(train / "0.png")
    (train / "02.png").unlink()
    (folder / "train" / "c").mkdir()
    Image.new("L", (3, 3)).save(folder / "train" / "c" / "new.png")
    (folder / "val" / "a" / "no picture.txt").touch()
    found = dataset(folder)
    assert found.classes == ("a", "b", "c")
    assert found.fingerprint != before.fingerprint
    assert found.train.files is not None
    names = [f"{path.parent.name}/{path.name}" for path in found.train.files]
    assert names == sorted(f"{path.parent.name}/{path.name}" for path in (folder / "train").glob("*/*"))
    new = [found.train.files[row].name for row in found.train.files.unseen()]
    assert new == ["0.png", "new.png"]
    assert np.bincount(found.train.labels).tolist() == [7, 8, 1]


def test_a_whole_index_is_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "pictures")
    require_pictures(dataset(folder))
    path = place(str(folder))
    assert path is not None
    before = path.stat()
    require_pictures(dataset(folder))
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    monkeypatch.setattr(index, "write_atomically", lambda *given: pytest.fail("written"))
    require_pictures(dataset(folder))


def test_the_fingerprint_is_the_one_of_every_file(tmp_path: Path) -> None:
    """As runs of earlier versions have it in their folder: names and sizes, one after another."""
    import hashlib

    folder = write(tmp_path / "pictures")
    strange = folder / "train" / "a" / 'q"\\ \u2028é.png'
    strange.write_bytes((folder / "train" / "a" / "00.png").read_bytes())
    (folder / "train" / "a" / NAMES[4]).symlink_to(tmp_path / "nowhere")
    data = dataset(folder)
    told = hashlib.sha256(json.dumps(["a", "b"]).encode())
    for split, labels in (("train", data.train.labels), ("val", data.test.labels)):
        told.update(labels.astype("<i8").tobytes())
        for path in sorted((folder / split).glob("*/*")):
            size = path.stat().st_size if path.exists() else -1
            told.update(json.dumps([path.parent.name, path.name, size]).encode())
    assert data.fingerprint == told.hexdigest()


def test_a_folder_that_may_not_be_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "pictures")
    right = os.scandir

    def scandir(path: Path) -> object:
        if path == folder / "val" / "b":
            raise PermissionError(13, "Permission denied")
        return right(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=r"val/b: cannot be read \(Permission denied\)"):
        dataset(folder)
