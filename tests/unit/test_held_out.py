"""A validation split of a folder that has none: of every class, the same on every machine, said where it is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from resnet_core.data.dataset import Dataset, Split
from resnet_core.data.held_out import HoldOut, held_out, require_held_out
from resnet_core.data.named import dataset
from resnet_core.errors import DataError
from resnet_core.preparation import Preparation

SIZES = {"ant": 20, "bee": 7, "cow": 2}

#: {seed: numbers of the pictures that are held out at 0.3}.
RECORDED = {0: [2, 4, 7, 16, 18, 19, 21, 24, 27], 1: [0, 1, 6, 8, 11, 15, 22, 23, 28]}


def write(folder: Path, **more: int) -> Path:
    """A folder for each class; the number of a picture is its gray value."""
    for name, count in {**SIZES, **more}.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.new("L", (6, 5), number).save(folder / name / f"{number:02}.png")
    return folder


def names(split: Split) -> list[str]:
    assert split.files is not None
    return [f"{path.parent.name}/{path.stem}" for path in split.files]


@pytest.mark.parametrize("layout", ["train", "."])
def test_the_same_share_of_every_class_is_held_out(layout: str, tmp_path: Path) -> None:
    write(tmp_path / "pictures" / layout)
    (tmp_path / "pictures" / layout / ".cache").mkdir()
    data = dataset(tmp_path / "pictures", validation=0.3)
    assert (data.classes, data.held_out, data.test_name) == (("ant", "bee", "cow"), 0.3, "validation")
    assert np.bincount(data.test.labels).tolist() == [6, 2, 1]  # 0.3 of 20, of 7, and at least one of 2
    assert np.bincount(data.train.labels).tolist() == [14, 5, 1]
    both = names(data.train) + names(data.test)
    assert sorted(both) == sorted(f"{name}/{number:02}" for name, count in SIZES.items() for number in range(count))
    for split in (data.train, data.test):
        pictures = split.read(np.arange(len(split)), Preparation(size=(5, 6), resize="stretch", channels=1))
        read = zip(split.labels, pictures[:, 0, 0, 0], strict=True)
        assert [f"{data.classes[label]}/{gray:02}" for label, gray in read] == names(split)


def test_what_is_held_out_is_known_for_good() -> None:
    """Recorded: a run that is resumed years later on another machine must not have trained on what it is tested on."""
    pictures = [f"{name}/{number:02}.png" for name, count in SIZES.items() for number in range(count)]
    labels = np.repeat([0, 1, 2], list(SIZES.values()))
    chosen = {seed: np.flatnonzero(held_out(pictures, labels, list(SIZES), HoldOut(0.3, seed))) for seed in (0, 1)}
    assert {seed: found.tolist() for seed, found in chosen.items()} == RECORDED


def test_it_depends_neither_on_order_nor_much_on_what_is_added() -> None:
    pictures = [f"ant/{number}.jpg" for number in range(50)]
    labels = np.zeros(50, np.int64)

    def found(files: list[str]) -> set[str]:
        chosen = held_out(files, np.zeros(len(files), np.int64), ["ant"], HoldOut(0.2, 4))
        return {file for file, held in zip(files, chosen, strict=True) if held}

    first = found(pictures)
    assert len(first) == 10
    assert found(pictures[::-1]) == first
    assert len(found([*pictures, "ant/new.jpg"]) & first) >= 9
    assert found(pictures) != {
        file for file, held in zip(pictures, held_out(pictures, labels, ["ant"], HoldOut(0.2, 5)), strict=True) if held
    }


def test_a_split_of_its_own_is_left_alone(tmp_path: Path) -> None:
    write(tmp_path / "pictures" / "train")
    write(tmp_path / "pictures" / "val")
    data = dataset(tmp_path / "pictures", validation=0.3)
    assert (len(data.train), len(data.test), data.held_out, data.test_name) == (29, 29, None, "test")
    require_held_out(data, None)
    with pytest.raises(DataError, match=r"received 0\.3; pictures has a test split of its own, expected no validation"):
        require_held_out(data, 0.3)


@pytest.mark.parametrize(
    ("layout", "more", "asked", "said"),
    [
        ("train", {}, {}, "has train/ but none of test/, val/ and validation/; hold out a share of its pictures with"),
        (".", {}, {}, "has a folder for each class but none of test/, val/ and validation/; hold out a share"),
        (".", {}, {}, "hold out a share of its pictures with validation = 0.2"),
        (".", {"dog": 1}, {"validation": 0.1}, "the class 'dog' has 1 picture; expected two or more"),
        (".", {"dog": 0}, {"validation": 0.1}, "the class 'dog' has 0 pictures; expected two or more"),
        (".", {}, {"validation": 0}, "validation: received 0; expected a share above 0 and below 1, such as 0.2"),
        (".", {}, {"validation": 20}, "validation: received 20; expected a share"),
        (".", {}, {"validation": float("nan")}, "validation: received nan; expected a share"),
    ],
)
def test_what_cannot_be_split_is_one_clear_line(
    layout: str, more: dict[str, int], asked: dict[str, Any], said: str, tmp_path: Path
) -> None:
    write(tmp_path / "pictures" / layout, **more)
    with pytest.raises(DataError) as error:
        dataset(tmp_path / "pictures", **asked)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_the_folder_in_which_one_stands_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write(tmp_path / "pictures"))
    found: Dataset = dataset(".", validation=0.5)
    assert found.name == "pictures"
