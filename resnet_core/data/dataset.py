"""What a data set is, whatever it is read from: two splits of labeled pictures, and the names of the classes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np

from resnet_core.data.pictures import Pictures
from resnet_core.preparation import Preparation

Size = tuple[int, int]

#: A part of a picture: (top, left, height, width) in pixels.
Box = tuple[int, int, int, int]

#: What is read of a picture: the box for (its row among those that are read, its height, its width).
Crop = Callable[[int, int, int], Box]

#: So many pictures of each split are looked at for the fingerprint, from the first to the last.
FINGERPRINT_PICTURES = 64


class Read(Protocol):
    """Reads pictures: (len(indices), height, width, channels) uint8 at the preparation's size.

    With `crop`, its box of every picture as it is stored, stretched to that size. It is passed only if there is one.
    """

    def __call__(self, indices: np.ndarray, preparation: Preparation, crop: Crop | None = None) -> np.ndarray: ...


@dataclass(frozen=True, repr=False)
class Split:
    """Labels (n,) int64, and how the pictures are read.

    `size` and `channels` are those of the pictures, or None if they vary (a folder of files). `resize` is how pictures
    of another size get there; `files` are they as they are stored, if each is by itself.
    """

    labels: np.ndarray
    read: Read
    size: Size | None
    channels: int | None
    resize: Literal["cover", "stretch"]
    files: Pictures | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        size = "" if self.size is None else f" of {self.size[0]}x{self.size[1]}"
        return f"<Split: {len(self):,} pictures{size}>"


@dataclass(frozen=True, repr=False)
class Dataset:
    """A training and a test split, and the names of the classes (numbers if they have no names).

    `held_out` is the share of the training pictures that the test split was made of; None if it is one of its own.
    """

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    held_out: float | None = None

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the classes, of every label, and of every picture's name and size in bytes.

        Of pictures that are in one file, `FINGERPRINT_PICTURES` of a split are looked at instead. So what is noticed is
        another order, more or fewer pictures, other classes; a single picture that another has replaced may not be.
        """
        found = hashlib.sha256(json.dumps(list(self.classes)).encode())
        for split in (self.train, self.test):
            found.update(np.ascontiguousarray(split.labels, "<i8").tobytes())
            if split.files is not None:
                for told in split.files.told_apart():
                    found.update(told)
            elif split.size is not None and split.channels is not None and len(split):
                rows = np.unique(np.linspace(0, len(split) - 1, FINGERPRINT_PICTURES).astype(np.int64))
                as_they_are = Preparation(size=split.size, channels=split.channels, resize="stretch")
                found.update(np.ascontiguousarray(split.read(rows, as_they_are)).tobytes())
        return found.hexdigest()

    def __repr__(self) -> str:
        pictures = f"{len(self.train):,} training and {len(self.test):,} {self.test_name} pictures"
        return f"<Dataset: {self.name}, {pictures} of {len(self.classes)} classes>"

    @property
    def test_name(self) -> str:
        """What the test pictures are called: "test" or "validation"."""
        return test_name(self.held_out)


def test_name(held_out: float | None) -> str:
    """What pictures are called that nothing is trained on: "validation" where they are a share of the training ones."""
    return "test" if held_out is None else "validation"
