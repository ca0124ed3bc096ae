"""Looking a data set over before training: how many pictures of each class, of which sizes, and which are damaged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from resnet_core.cores import cores
from resnet_core.data.dataset import Dataset, Split
from resnet_core.data.images import read_picture
from resnet_core.data.pictures import Pictures
from resnet_core.data.up_front import a_few_at_a_time
from resnet_core.errors import InputError


@dataclass(frozen=True)
class SplitReport:
    """One split: {class: pictures}, {(height, width): readable pictures}, and {file: what is wrong with it}."""

    classes: dict[str, int]
    sizes: dict[tuple[int, int], int]
    bad: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Plain values; a size is "224x224"."""
        sizes = {f"{height}x{width}": count for (height, width), count in self.sizes.items()}
        return {"classes": self.classes, "sizes": sizes, "bad": self.bad}


@dataclass(frozen=True)
class DataReport:
    """A data set's two splits. `channels` is None where pictures vary; `held_out` as in `Dataset`."""

    name: str
    channels: int | None
    train: SplitReport
    test: SplitReport
    held_out: float | None

    @property
    def bad(self) -> dict[str, str]:
        """{file: what is wrong} of both splits."""
        return {**self.train.bad, **self.test.bad}

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "name": self.name,
            "channels": self.channels,
            "train": self.train.to_json(),
            "test": self.test.to_json(),
            "held_out": self.held_out,
        }


def check_data(data: Dataset, progress: Callable[[int, int], None] = lambda done, total: None) -> DataReport:
    """Read every picture once, and count. `progress` is called with (pictures read, pictures in all)."""
    total = len(data.train) + len(data.test)
    train = _report(data.train, data.classes, lambda count: progress(count, total))
    test = _report(data.test, data.classes, lambda count: progress(len(data.train) + count, total))
    return DataReport(data.name, data.train.channels, train, test, data.held_out)


def _report(split: Split, names: tuple[str, ...], tell: Callable[[int], None]) -> SplitReport:
    counts = np.bincount(split.labels, minlength=len(names))
    classes = {name: int(count) for name, count in zip(names, counts, strict=True)}
    if split.files is None:  # arrays, which were read as a whole
        sizes = {split.size: len(split)} if split.size is not None else {}
        return SplitReport(classes, sizes, {})
    found: Counter[tuple[int, int]] = Counter()
    bad: dict[str, str] = {}
    files = split.files
    with ThreadPoolExecutor(cores()) as pool:
        for row, size in enumerate(a_few_at_a_time(pool, partial(_look, files), range(len(files)))):
            if isinstance(size, str):
                bad[str(files[row])] = size
            else:
                found[size] += 1
            tell(row + 1)
    return SplitReport(classes, dict(found.most_common()), bad)


def _look(files: Pictures, row: int) -> tuple[int, int] | str:
    """(height, width), or what is wrong."""
    try:
        picture = read_picture(files[row], "RGB", files.content(row))
    except InputError as error:
        return str(error)
    return picture.height, picture.width
