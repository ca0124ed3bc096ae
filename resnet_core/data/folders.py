"""Folders of pictures by class. What is in them is found anew each time, and compared with the index of the last."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from resnet_core.data.dataset import Dataset
from resnet_core.data.held_out import HoldOut
from resnet_core.data.images import PICTURES
from resnet_core.data.index import Entry, Index, Part, known
from resnet_core.data.pictures import Pictures
from resnet_core.data.stored import held_out_dataset, stored_split
from resnet_core.errors import DataError
from resnet_core.fields import require_characters

#: Folders of test pictures, of which the first that is there counts.
TESTS = ("test", "val", "validation")

#: Folders that are listed at once: on a network, one waits for each.
_AT_ONCE = 8


class Folders:
    """The store of pictures with files of their own below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, part: Part, number: int) -> Path:
        return self.root / part.name / part.picture(number)

    def content(self, part: Part, number: int) -> None:
        return None


def folder_dataset(name: str, folder: Path, train: Path, validation: HoldOut | None) -> Dataset:
    """A folder with train/, or with the classes themselves: then `train` is the folder. Raises DataError."""
    parts = TESTS if train != folder else ()
    test = next((folder / part for part in parts if (folder / part).is_dir()), None)
    classes = tuple(subfolders(train))
    if test is None and validation is None:
        raise DataError(
            f"{folder}: has {'train/' if parts else 'a folder for each class'} but none of test/, val/ and "
            "validation/; hold out a share of its pictures with validation = 0.2"
        )
    splits = [train] if test is None else [train, test]
    for split in splits:
        unknown = [each for each in subfolders(split) if each not in classes]
        if unknown:
            raise DataError(f"{split}: the class {unknown[0]!r} is not among those of train/: {', '.join(classes)}")
    index = _index(folder, [split / each for split in splits for each in classes])
    counts = np.diff(index.starts).reshape(len(splits), len(classes))
    for split, count in zip(splits, counts.sum(1), strict=True):
        if not count:
            raise DataError(f"{split}: no pictures; expected {split.name}/CLASS/*.png, .jpg, …")
    index.keep()
    labels = [np.repeat(np.arange(len(classes)), each) for each in counts]
    store, ends = Folders(folder), np.cumsum(counts.sum(1)).tolist()
    if test is not None:
        kept, taken = range(ends[0]), range(ends[0], ends[1])
        return Dataset(
            name,
            stored_split(Pictures(index, kept, store), labels[0]),
            stored_split(Pictures(index, taken, store), labels[1]),
            classes,
        )
    assert validation is not None
    names = [f"{own}/{each}" for own, part in zip(classes, index.parts, strict=True) for each in part.pictures()]
    return held_out_dataset(name, Pictures(index, range(ends[0]), store), labels[0], names, classes, validation)


def subfolders(folder: Path) -> list[str]:
    """Names of the folders that hold a class each; hidden ones, which programs leave there, do not."""
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    for name in names:
        require_characters(str(folder), name, DataError)
    return names


def holds_pictures(folder: Path) -> bool:
    """Whether there is a picture, by its name; there is none where nobody may look."""
    try:
        with os.scandir(folder) as found:
            return any(_is_picture(each.name) for each in found)
    except OSError:
        return False


def _index(root: Path, folders: Sequence[Path]) -> Index:
    old = known(str(root.absolute()), "folders")
    names = [folder.relative_to(root).as_posix() for folder in folders]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = pool.map(lambda name: Part.of(name, _listed(root / name)).remembered(old.get(name)), names)
        return Index(str(root.absolute()), "folders", list(found), old)


def _listed(folder: Path) -> list[Entry]:
    """The pictures of a folder by name; one that cannot be looked at has the size -1."""
    entries: list[Entry] = []
    try:
        with os.scandir(folder) as found:
            for each in found:
                if _is_picture(each.name):
                    try:
                        about = each.stat()
                    except OSError:
                        entries.append((each.name, -1, 0, -1))
                    else:
                        entries.append((each.name, about.st_size, about.st_mtime_ns, -1))
    except FileNotFoundError:  # a class without test pictures
        return []
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror}); expected a folder of pictures") from error
    return sorted(entries)


def _is_picture(name: str) -> bool:
    dot = name.rfind(".")
    return dot > 0 and name[dot:].lower() in PICTURES
