"""Pictures are looked at before the first step: all bad ones in one line, and quickly the second time."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image
from run_work import Work, done, refused, resnet

from resnet_core.data import up_front
from resnet_core.data.images import sample_fashion
from resnet_core.data.named import dataset
from resnet_core.data.up_front import NAMED, require_pictures
from resnet_core.errors import DataError

NARROW = ["--set", "depths=[1]", "--set", "channels=[4]", "--set", "input_size=20"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes, in every kind of file: 16 pictures to train on, 8 to test."""
    pictures, _ = sample_fashion(24)
    for number, picture in enumerate(pictures):
        place = tmp_path / "pictures" / ("train" if number < 16 else "val") / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        ending = ("jpg", "png", "bmp", "gif", "webp", "tif")[number // 2 % 6]
        Image.fromarray(picture[..., 0]).save(place / f"{number:02}.{ending}")
    return tmp_path / "pictures"


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the pictures that are opened, as they are."""
    names: list[str] = []
    own = up_front.check_header

    def check_header(path: Path, content: bytes | None) -> None:
        names.append(path.name)
        own(path, content)

    monkeypatch.setattr(up_front, "check_header", check_header)
    return names


def test_all_bad_pictures_are_in_one_line_before_anything_is_written(work: Work, folder: Path) -> None:
    train, val = folder / "train", folder / "val"
    bad = [train / "a" / "00.jpg", train / "b" / "03.png", train / "a" / "08.webp", val / "a" / "16.bmp"]
    for path in bad:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])  # with a good header
    (train / "a" / "no.png").write_text("no picture")
    (val / "b" / "empty.jpg").touch()
    (val / "b" / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    bad += [train / "a" / "no.png", val / "b" / "empty.jpg", val / "b" / "gone.jpg"]
    arguments = ["train", "resnet20", *NARROW, "--data", folder, "--backend", "numpy", "--out", work.folder / "run"]
    process = resnet(*arguments, "--epochs", "1")
    refused(process, "pictures: 7 of 27 pictures cannot be read: ")
    for path in bad:
        assert repr(str(path)) in process.stderr
    assert "no.png' is not a picture; " in process.stderr
    assert not (work.folder / "run").exists()

    for path in bad:
        path.unlink()
    done(resnet(*arguments, "--epochs", "1", "--with", "batch_size=8"))
    (train / "a" / "new.jpg").write_bytes(b"")
    refused(resnet("train", "--out", work.folder / "run", "--resume", "--epochs", "2"), "1 of 21 pictures cannot be")


def test_every_kind_of_picture_that_is_cut_short_is_found(folder: Path) -> None:
    """At the length where the least is missing of a JPEG or PNG too; whatever Pillow still reads is no bad picture."""
    require_pictures(dataset(folder))
    for path in sorted((folder / "train" / "a").iterdir()):
        whole = path.read_bytes()
        for missing in (1, len(whole) // 2):
            path.write_bytes(whole[:-missing])
            try:
                with Image.open(path) as picture:
                    picture.load()
            except Exception:
                with pytest.raises(DataError, match=path.name):
                    require_pictures(dataset(folder))
            else:
                require_pictures(dataset(folder))
        path.write_bytes(whole)


def test_a_picture_with_something_behind_its_end_is_good(folder: Path) -> None:
    """Some cameras append their own data."""
    for path in (folder / "train" / "a").iterdir():
        with path.open("ab") as file:
            file.write(b"\0" * 100)
    require_pictures(dataset(folder))


def test_the_second_time_only_what_is_new_or_has_changed_is_looked_at(folder: Path, looked: list[str]) -> None:
    require_pictures(dataset(folder))
    assert len(looked) == 24
    looked.clear()
    require_pictures(dataset(folder))
    assert looked == []
    changed, other = folder / "train" / "a" / "00.jpg", folder / "val" / "b" / "new.png"
    found = changed.stat()
    os.utime(changed, ns=(found.st_atime_ns, found.st_mtime_ns + 1))
    shutil.copy(folder / "train" / "b" / "03.png", other)
    require_pictures(dataset(folder))
    assert sorted(looked) == ["00.jpg", "new.png"]
    looked.clear()
    bad = folder / "train" / "b" / "03.png"
    bad.write_bytes(bad.read_bytes()[:100])
    for _ in range(2):  # a bad picture is not remembered
        with pytest.raises(DataError, match=r"pictures: 1 of 25 pictures cannot be read: '.*03\.png'"):
            require_pictures(dataset(folder))
    assert looked == ["03.png", "03.png"]


def test_nothing_is_written_beside_the_data_and_a_cache_that_cannot_be_kept_is_none(
    folder: Path, looked: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = sorted(folder.rglob("*"))
    require_pictures(dataset(folder))
    assert sorted(folder.rglob("*")) == before
    (index,) = (tmp_path / "cache" / "resnet" / "pictures").iterdir()
    for damaged in (b"", b"[]", b"{", b'{"folder": 1}'):
        index.write_bytes(damaged)
        looked.clear()
        require_pictures(dataset(folder))
        assert len(looked) == 24
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    looked.clear()
    require_pictures(dataset(folder))
    assert len(looked) == 24


def test_many_bad_pictures_are_counted_and_the_first_named(folder: Path) -> None:
    for number in range(NAMED + 7):
        (folder / "train" / "a" / f"x{number:03}.jpg").touch()
    with pytest.raises(DataError) as caught:
        require_pictures(dataset(folder))
    assert f"{NAMED + 7} of {24 + NAMED + 7} pictures cannot be read" in str(caught.value)
    assert str(caught.value).count(".jpg'") == NAMED
    assert "; and 7 more; replace or remove them" in str(caught.value)


def test_arrays_are_not_looked_at_and_many_pictures_are_said(
    work: Work, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    require_pictures(dataset(work.folder / "data.npz"), said.append)
    require_pictures(dataset(folder), said.append)
    assert said == []
    monkeypatch.setattr(up_front, "MANY", 20)
    monkeypatch.setenv("XDG_CACHE_HOME", str(work.folder / "other"))
    require_pictures(dataset(folder), said.append)
    assert said == ["pictures: looking at 24 pictures that are new or have changed"]
