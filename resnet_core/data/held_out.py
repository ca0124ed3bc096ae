"""A validation split: pictures that are held out of training, for data that has none of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from resnet_core.data.dataset import Dataset
from resnet_core.errors import DataError


@dataclass(frozen=True)
class HoldOut:
    """What is held out: this `share` of every class, above 0 and below 1, drawn from `seed`. Raises DataError."""

    share: float
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise DataError(f"validation: received {self.share:g}; expected a share above 0 and below 1, such as 0.2")


def held_out(names: Sequence[str], labels: np.ndarray, classes: Sequence[str], rule: HoldOut) -> np.ndarray:
    """Which pictures are held out, (pictures,) bool; `names` are unique, `labels` (pictures,) their classes.

    Of every class it is `share` of its pictures, rounded, but at least one and not all: those whose names have the
    smallest SHA-256 together with the seed. So it depends neither on the machine nor on the order of files, and a
    picture that is added later moves at most one other.

    Raises DataError for a class with fewer than two pictures.
    """
    found = np.zeros(len(names), bool)
    for label, name in enumerate(classes):
        own = np.flatnonzero(labels == label)
        if len(own) < 2:
            raise DataError(
                f"validation: the class {name!r} has {len(own)} picture{'' if len(own) == 1 else 's'}; expected two or "
                "more, to train on and to hold out"
            )
        count = min(max(round(rule.share * len(own)), 1), len(own) - 1)
        found[sorted(own, key=lambda index: _digest(rule.seed, names[int(index)]))[:count]] = True
    return found


def require_held_out(data: Dataset, validation: float | None) -> None:
    """Raise DataError if a share was to be held out of data that has a test split of its own."""
    if validation is not None and data.held_out is None:
        raise DataError(
            f"validation: received {validation:g}; {data.name} has a test split of its own, expected no validation"
        )


def _digest(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}/{name}".encode(errors="surrogateescape")).digest()
