"""What a data set is, whatever it is read from: two splits of labeled pictures, and the names of the classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from resnet_core.preparation import Preparation

Size = tuple[int, int]


@dataclass(frozen=True)
class Split:
    """Labels (n,) int64, and `read(indices, preparation)`: (len(indices), height, width, channels) uint8.

    `size` and `channels` are those of the pictures, or None if they vary (a folder of files). `resize` is how pictures
    of another size get there; `files` are theirs, if they are files.
    """

    labels: np.ndarray
    read: Callable[[np.ndarray, Preparation], np.ndarray]
    size: Size | None
    channels: int | None
    resize: Literal["cover", "stretch"]
    files: tuple[Path, ...] | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """A training and a test split, and the names of the classes (numbers if they have no names)."""

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
