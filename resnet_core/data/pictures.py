"""Pictures that stay where they are stored until they are asked for: files in folders, or pieces of larger files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import Protocol, overload

import numpy as np

from resnet_core.data.index import Index, Part

_json = json.encoder.encode_basestring_ascii  # what json.dumps makes of a text


class Store(Protocol):
    """Where the pictures of an index are, by their part and number there."""

    def path(self, part: Part, number: int) -> Path:
        """The file, or what a message calls a picture that has none of its own."""
        ...

    def content(self, part: Part, number: int) -> bytes | None:
        """The bytes of a picture that is a piece of a file; None: it has its own file. Raises InputError."""
        ...


class Pictures(Sequence[Path]):
    """Some of an index's pictures in order, ascending: as a sequence, their paths."""

    def __init__(self, catalog: Index, numbers: range | np.ndarray, store: Store) -> None:
        self.catalog, self.numbers, self.store = catalog, numbers, store

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, row: int) -> Path: ...
    @overload
    def __getitem__(self, row: slice) -> list[Path]: ...
    def __getitem__(self, row: int | slice) -> Path | list[Path]:
        if isinstance(row, slice):
            return [self[each] for each in range(*row.indices(len(self)))]
        return self.store.path(*self.catalog.located(int(self.numbers[row])))

    def content(self, row: int) -> bytes | None:
        """As `Store.content`."""
        return self.store.content(*self.catalog.located(int(self.numbers[row])))

    def unseen(self) -> np.ndarray:
        """The rows of those that have not been looked at, as they are now."""
        good = [part.good[numbers] for part, numbers in self.catalog.pieces(self.numbers)]
        return np.flatnonzero(np.concatenate(good) == 0) if good else np.zeros(0, np.int64)

    def approve(self, rows: np.ndarray) -> None:
        """Remember that these ascending rows have been looked at, and are good."""
        self.catalog.approve(np.asarray(self.numbers)[rows])

    def told_apart(self) -> Iterator[bytes]:
        """What tells these pictures from others: of each its folder or file, its name and its size."""
        for part, numbers in self.catalog.pieces(self.numbers):
            names, sizes = part.pictures(), part.sizes.tolist()
            if part.stamp is not None:
                yield json.dumps([PurePath(part.name).name, part.stamp[0]]).encode()
            before = f"[{_json(PurePath(part.name).name)}, "
            yield "".join(f"{before}{_json(names[each])}, {sizes[each]}]" for each in numbers.tolist()).encode()
