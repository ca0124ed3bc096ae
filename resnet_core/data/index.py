"""The index of a data set that is stored as pictures: what each is called, how large it is, and where it begins.

It has some 50 bytes a picture, and is all of them that is in memory. It is kept in the user's cache, never beside the
data, so that what was read or looked at once is known the next time: a picture by its folder, name, size and time of
change, and all that a file holds by that file's name, size and time of change.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from resnet_core.errors import InputError
from resnet_core.files import read_bytes, write_atomically

#: A picture as it is found: (name, size in bytes or -1, place, class number or -1).
Entry = tuple[str, int, int, int]

#: The columns of a part in the order in which they are stored, so that each begins where its numbers may.
COLUMNS = {"sizes": "<i8", "places": "<i8", "ends": "<u4", "labels": "<i4", "good": "u1", "names": "u1"}

_MAGIC = b"resnet pictures1"
_MOST_BYTES = 2**34


@dataclass(eq=False)
class Part:
    """The pictures of one folder, or those in one file, in order.

    `places` are the times of change (ns) of files, and otherwise where in the file a picture is; `labels` are -1 where
    the folder is the class; `good` are those that have been looked at. `names` has all names, which end at `ends`.
    `stamp` is the size and time of change (ns) of the file, and `about` what else its reader knows of it.
    """

    name: str
    sizes: np.ndarray
    places: np.ndarray
    ends: np.ndarray
    labels: np.ndarray
    good: np.ndarray
    names: np.ndarray
    stamp: tuple[int, int] | None = None
    about: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        name: str,
        entries: Sequence[Entry],
        stamp: tuple[int, int] | None = None,
        about: dict[str, Any] | None = None,
    ) -> Part:
        """A part with these pictures, none of which has been looked at."""
        names = [os.fsencode(entry[0]) for entry in entries]
        return cls(
            name,
            np.array([entry[1] for entry in entries], "<i8"),
            np.array([entry[2] for entry in entries], "<i8"),
            np.cumsum([len(each) for each in names], dtype="<u4"),
            np.array([entry[3] for entry in entries], "<i4"),
            np.zeros(len(entries), "u1"),
            np.frombuffer(b"".join(names), "u1"),
            stamp,
            {} if about is None else about,
        )

    def __len__(self) -> int:
        return len(self.sizes)

    def picture(self, number: int) -> str:
        """The name of a picture."""
        begin = int(self.ends[number - 1]) if number else 0
        return os.fsdecode(self.names[begin : int(self.ends[number])].tobytes())

    def pictures(self) -> list[str]:
        """All names."""
        text, begins = self.names.tobytes(), [0, *self.ends.tolist()]
        return [os.fsdecode(text[begin:end]) for begin, end in pairwise(begins)]

    def remembered(self, old: Part | None) -> Part:
        """The old part if it is the same, and otherwise this one, knowing what is still as it was when it was good."""
        if old is None:
            return self
        if self.stamp is not None:
            return old if old.stamp == self.stamp else self
        same = len(self) == len(old) and all(
            np.array_equal(getattr(self, name), getattr(old, name)) for name in COLUMNS if name != "good"
        )
        if same:
            return old
        rows = zip(old.pictures(), old.sizes.tolist(), old.places.tolist(), old.good.tolist(), strict=True)
        known = {(name, size, place) for name, size, place, good in rows if good}
        own = zip(self.pictures(), self.sizes.tolist(), self.places.tolist(), strict=True)
        self.good = np.array([entry in known for entry in own], "u1")
        return self


class Index:
    """The parts of a data set, whose pictures are counted through. `known` are those that the cache has."""

    def __init__(self, root: str, kind: str, parts: Sequence[Part], known: Mapping[str, Part]) -> None:
        self.root, self.kind, self.parts = root, kind, tuple(parts)
        self._kept = len(known) == len(self.parts) and all(part is known.get(part.name) for part in self.parts)

    @cached_property
    def starts(self) -> np.ndarray:
        """(parts + 1,) int64: which picture is each part's first, and how many there are."""
        return np.cumsum([0, *map(len, self.parts)], dtype=np.int64)

    def located(self, picture: int) -> tuple[Part, int]:
        """The picture's part, and its number there."""
        found = int(np.searchsorted(self.starts, picture, "right")) - 1
        return self.parts[found], picture - int(self.starts[found])

    def pieces(self, pictures: range | np.ndarray) -> Iterator[tuple[Part, np.ndarray]]:
        """The ascending `pictures` by part: (part, their numbers there)."""
        own = np.asarray(pictures)
        cuts = np.searchsorted(own, self.starts)
        for part, start, begin, end in zip(self.parts, self.starts, cuts, cuts[1:], strict=False):
            if end > begin:
                yield part, own[begin:end] - start

    def approve(self, pictures: np.ndarray) -> None:
        """Remember that the ascending `pictures` have been looked at, and are good."""
        for part, numbers in self.pieces(pictures):
            part.good = part.good.copy()
            part.good[numbers] = 1
        self._kept = self._kept and not len(pictures)

    def keep(self) -> None:
        """Write the index, if it has changed and can be written: a cache that cannot be kept costs time alone."""
        path = place(self.root)
        if path is None or self._kept:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, self._stored())
        except (OSError, InputError):
            return
        self._kept = True

    def _stored(self) -> bytes:
        about = [
            {"name": part.name, "stamp": part.stamp, "about": part.about, "count": len(part), "text": len(part.names)}
            for part in self.parts
        ]
        header = json.dumps({"root": self.root, "kind": self.kind, "parts": about}).encode()
        pieces = [_MAGIC, len(header).to_bytes(8, "little"), _padded(header)]
        pieces += [_padded(getattr(part, name).tobytes()) for part in self.parts for name in COLUMNS]
        checked = 0
        for piece in pieces:
            checked = zlib.crc32(piece, checked)
        return b"".join([*pieces, checked.to_bytes(8, "little")])


def known(root: str, kind: str) -> dict[str, Part]:
    """The parts of the data set that the cache has, by name; none where it has none, or something damaged."""
    path = place(root)
    try:
        if path is None or not path.exists():
            return {}
        data = read_bytes(path, "an index of pictures", most=_MOST_BYTES)
        if data[:16] != _MAGIC or zlib.crc32(memoryview(data)[:-8]) != int.from_bytes(data[-8:], "little"):
            return {}
        length = int.from_bytes(data[16:24], "little")
        about = json.loads(data[24 : 24 + length])
        if (about["root"], about["kind"]) != (root, kind):
            return {}
        parts, at = {}, 24 + _aligned(length)
        for each in about["parts"]:
            columns = {}
            for name, dtype in COLUMNS.items():
                count = each["text"] if name == "names" else each["count"]
                columns[name] = np.frombuffer(data, dtype, count, at)
                at += _aligned(columns[name].nbytes)
            stamp = None if each["stamp"] is None else tuple(each["stamp"])
            parts[each["name"]] = Part(each["name"], **columns, stamp=stamp, about=each["about"])
    except (OSError, InputError, ValueError, LookupError, TypeError):
        return {}
    return parts


def place(root: str) -> Path | None:
    """The file of the cache for the data set at `root`; None where the user has no home."""
    try:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        return None
    return Path(cache) / "resnet" / "pictures" / f"{hashlib.sha256(os.fsencode(root)).hexdigest()[:24]}.index"


def _aligned(length: int) -> int:
    return -(-length // 8) * 8


def _padded(data: bytes) -> bytes:
    return data + bytes(_aligned(len(data)) - len(data))
