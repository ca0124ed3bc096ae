"""Parquet files as `datasets` writes them are a data set like a folder of the same pictures; hostile ones a line."""

from __future__ import annotations

import contextlib
import json
import random
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from command_line import in_process
from resnet_core.data import parquet_files
from resnet_core.data.check import check_data
from resnet_core.data.named import dataset
from resnet_core.data.up_front import require_pictures
from resnet_core.errors import DataError, InputError
from shards import NAMES, pictures, pipeline, require_same, write_folder, write_parquet, write_parquets


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("names", [None, NAMES], ids=["numbers", "names"])
def test_parquet_files_are_the_folder_of_the_same_pictures(names: tuple[str, ...] | None, tmp_path: Path) -> None:
    """With the classes as the schema has them, and the test pictures whose classes are told."""
    folder = dataset(write_folder(tmp_path / "folder", NAMES))
    data = dataset(write_parquets(tmp_path / "files", names))
    assert data.classes == (names or ("0", "1", "2"))
    assert (len(data.train), len(data.test), data.held_out) == (25, 8, None)
    assert data.test.files is not None
    assert data.test.files[3] == tmp_path / "files" / "data" / "validation-00000-of-00001.parquet" / "row 3"
    require_same(data, folder)
    require_pictures(data)
    assert check_data(data).bad == {}
    again = dataset(tmp_path / "files")
    assert again.fingerprint == data.fingerprint
    assert again.train.files is not None
    assert not len(again.train.files.unseen())
    held = dataset(tmp_path / "files" / "data" / "train-{00000,00001}-of-00002.parquet", validation=0.3)
    assert (len(held.train) + len(held.test), held.held_out) == (25, 0.3)


def test_other_names_of_columns_are_known_by_what_they_are(tmp_path: Path) -> None:
    for columns in (("img", "fine_label"), ("picture", "labels")):
        path = write_parquet(tmp_path / columns[0] / "train.parquet", pictures(6), NAMES, columns=columns)
        assert dataset(path, validation=0.5).classes == NAMES


def test_a_row_group_is_read_once_for_all_who_ask_and_few_are_kept(tmp_path: Path) -> None:
    read: list[int] = []
    kept, started = parquet_files._Kept(100), threading.Barrier(4)

    def value(key: int) -> str:
        def found() -> tuple[str, int]:
            read.append(key)
            return str(key), 40

        started.wait()
        return kept.get(key, found)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(value, [7] * 4)) == ["7"] * 4
        assert read == [7]
        assert list(pool.map(value, [1, 2, 3, 4])) == ["1", "2", "3", "4"]
    assert (len(kept.values), kept.size, len(kept.reading)) == (2, 80, 2)
    assert kept.get(9, lambda: ("large", 1000)) == "large"
    assert (list(kept.values), kept.size) == ([9], 1000)
    with pytest.raises(InputError):
        kept.get(3, lambda: (_ for _ in ()).throw(InputError("not read")))
    assert kept.get(3, lambda: ("read", 1)) == "read"

    data = dataset(write_parquets(tmp_path / "files"))
    groups: list[tuple[str, int]] = []
    assert data.train.files is not None
    store: Any = data.train.files.store
    own = store._read
    store._read = lambda part, group: groups.append((part.name, group)) or own(part, group)
    list(pipeline(data).batches(0, 4))
    assert len(groups) == len(set(groups)) == 7, "all are small, so that each is read once"


def test_without_pyarrow_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_parquets(tmp_path / "files")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    process = in_process("data", tmp_path / "files")
    assert process.returncode == 2
    (line,) = process.stderr.splitlines()
    assert line.endswith('is read by pyarrow, which is not installed: pip install "resnet-core[data]"')


IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def table(path: Path, metadata: dict[str, Any] | None = None, **columns: Any) -> None:
    found = pa.table(columns)
    if metadata is not None:
        found = found.replace_schema_metadata({b"huggingface": json.dumps(metadata).encode()})
    parquet.write_table(found, path)


def images(*contents: bytes | None) -> Any:
    return pa.array([{"bytes": content, "path": None} for content in contents], IMAGE)


GOOD = pictures(2)
ONE = images(GOOD[0][1])


def named(names: object) -> dict[str, Any]:
    return {"info": {"features": {"label": {"_type": "ClassLabel", "names": names}}}}


#: {what it is: (how it is written, what is said)}.
HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "not a whole Parquet file"),
    "no parquet": (lambda path: path.write_bytes(b"PAR1 and nothing else PAR1" * 9), "not a whole Parquet file"),
    "no rows": (lambda path: table(path, image=images(), label=pa.array([], pa.int64())), "no pictures"),
    "no columns": (lambda path: table(path), "has the columns none; expected one of pictures"),
    "no class": (lambda path: table(path, image=ONE, text=["a"]), "has the columns image (struct"),
    "no picture": (lambda path: table(path, image=["a.jpg"], label=[0]), "has the columns image (string), label"),
    "bytes alone": (lambda path: table(path, image=[b"a"], label=[0]), "has the columns image (binary)"),
    "two pictures": (lambda path: table(path, image=ONE, other=ONE, label=[0]), "other (struct"),
    "two classes": (lambda path: table(path, image=ONE, a=[0], b=[0]), "a (int64), b (int64)"),
    "a class is missing": (lambda path: table(path, image=ONE, label=pa.array([None], pa.int64())), "1 of them mis"),
    "negative": (lambda path: table(path, image=ONE, label=[-7]), "a label is -7"),
    "untold": (lambda path: table(path, image=ONE, label=[-1]), "a label is -1"),
    "large": (lambda path: table(path, image=ONE, label=[2**40]), f"a label is {2**40}"),
    "more than names": (lambda path: table(path, named(["a"]), image=ONE, label=[1]), "a label is 1"),
    "no names": (lambda path: table(path, named("abc"), image=ONE, label=[0]), "names of its classes are no list"),
    "equal names": (lambda path: table(path, named(["a", "a"]), image=ONE, label=[0]), "not all different"),
    "half a character": (lambda path: table(path, named(["\ud800"]), image=ONE, label=[0]), "lone surrogate"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_one_line(kind: str, tmp_path: Path) -> None:
    write, said = HOSTILE[kind]
    (tmp_path / "files").mkdir()
    table(tmp_path / "files" / "val.parquet", image=ONE, label=[0])
    for part in ("train", "val") if kind in ("more than names", "half a character") else ("train",):
        write(tmp_path / "files" / f"{part}.parquet")
    with pytest.raises(DataError) as error:
        dataset(tmp_path / "files")
    assert said in str(error.value)
    assert str(tmp_path / "files") in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


def test_what_is_wrong_with_a_row_is_named(tmp_path: Path) -> None:
    found = [(*GOOD[0][:2], 0), ("gone.jpg", None, 0), ("bad.jpg", b"no picture", 0), (*GOOD[1][:2], 0)]
    data = dataset(write_parquet(tmp_path / "files" / "train.parquet", found), validation=0.4)
    with pytest.raises(DataError) as error:
        require_pictures(data)
    assert "2 of 4 pictures cannot be read: " in str(error.value)
    assert "train.parquet/row 1' has no bytes" in str(error.value)
    assert "train.parquet/row 2' is not a picture" in str(error.value)


def test_absurd_sizes_are_refused_and_changes_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_parquet(tmp_path / "files" / "train.parquet", pictures(9), NAMES)
    data = dataset(path, validation=0.4)
    write_parquet(path, pictures(9, first=30), NAMES)
    with pytest.raises(DataError, match=r"train\.parquet: has changed while it was in use; start again"):
        pipeline(data).batch(0)
    monkeypatch.setattr(parquet_files, "MOST_GROUP", 99)
    with pytest.raises(DataError, match=r"a row group has .* bytes; expected at most 99: write it with a"):
        dataset(path, validation=0.4)


def test_a_file_that_is_cut_short_or_changed_is_a_line_or_read(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "files" / "train.parquet", pictures(6), NAMES)
    whole, rng = path.read_bytes(), random.Random(1)
    for _ in range(30):
        path.write_bytes(whole[: rng.randrange(len(whole))])
        with pytest.raises(DataError, match="not a whole Parquet file"):
            dataset(path, validation=0.4)
    for number in range(200):
        at = rng.randrange(len(whole) - 1500 if number % 2 else 0, len(whole))  # most of what it says of itself
        path.write_bytes(whole[:at] + bytes([rng.randrange(256)]) + whole[at + 1 :])
        with contextlib.suppress(InputError):  # anything else fails
            data = dataset(path, validation=0.4)
            require_pictures(data)
            assert np.isfinite(pipeline(data).batch(0)[0]).all()
