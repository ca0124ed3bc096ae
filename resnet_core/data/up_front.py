"""Looking at every picture of a data set before a run: what cannot be read is named at once, and not in the third hour.

A JPEG or PNG file is judged by its header and its last bytes, in a third (96 x 96) to a thirtieth (768 x 512) of the
time that it takes to read it whole; one that does not end as it should, and every other kind, is read whole. So all
that is no picture, is missing or is cut short is found; damage in the middle of a file shows when it is read. What was
good is remembered in an index in the user's cache, by path, size and time of change, never beside the data.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from resnet_core.data.dataset import Dataset
from resnet_core.data.images import check_header, read_picture
from resnet_core.errors import DataError, InputError
from resnet_core.files import read_bytes, write_atomically

#: How a whole file ends, by kind.
ENDS = {".jpg": b"\xff\xd9", ".jpeg": b"\xff\xd9", ".png": b"IEND\xaeB`\x82"}

#: Pictures from which on it is said that they are looked at.
MANY = 1000

#: Bad pictures that a message names.
NAMED = 50

#: A picture as it was when it was good: its size in bytes, and when it was changed, in nanoseconds.
Stamp = list[int]


def require_pictures(data: Dataset, note: Callable[[str], None] = lambda message: None) -> None:
    """Raise DataError, one line that names the pictures which cannot be read; nothing for a data set of arrays.

    `note` is told where many are looked at.
    """
    files = [*(data.train.files or ()), *(data.test.files or ())]
    if not files:
        return
    index = _Index(files)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        stamps = dict(zip(files, pool.map(_stamp, files), strict=True))
        new = [file for file in files if stamps[file] is None or index.stamps.get(index.name(file)) != stamps[file]]
        if len(new) >= MANY:
            note(f"{data.name}: looking at {len(new):,} pictures that are new or have changed")
        found = zip(new, pool.map(_problem, new), strict=True)
        problems = {file: problem for file, problem in found if problem}
    if new:
        index.write({index.name(file): stamp for file, stamp in stamps.items() if stamp and file not in problems})
    if problems:
        named = "; ".join(list(problems.values())[:NAMED])
        rest = f"; and {len(problems) - NAMED:,} more" if len(problems) > NAMED else ""
        raise DataError(
            f"{data.name}: {len(problems):,} of {len(files):,} pictures cannot be read: {named}{rest}; "
            "replace or remove them"
        )


def _stamp(file: Path) -> Stamp | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]


def _problem(file: Path) -> str:
    """What is wrong with a picture, in a few words; "" for nothing."""
    try:
        check_header(file)
        end = ENDS.get(file.suffix.lower())
        if end is None or _last_bytes(file, len(end)) != end:
            read_picture(file, "RGB")
    except InputError as error:
        return str(error).rpartition(", expected")[0] or str(error)
    return ""


def _last_bytes(file: Path, count: int) -> bytes:
    try:
        with file.open("rb") as opened:
            opened.seek(-count, os.SEEK_END)
            return opened.read()
    except OSError:  # shorter than that, or gone: reading it says what it is
        return b""


class _Index:
    """What is known of the pictures below their common folder. Without a place to keep it, nothing is."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.root = os.path.commonpath([file.absolute().parent for file in files])
        self.path = _place(self.root)
        self.stamps: dict[str, Stamp] = {}
        try:
            if self.path is not None and self.path.exists():
                found = json.loads(read_bytes(self.path, "an index of pictures"))
                self.stamps = dict(found["pictures"]) if found["folder"] == self.root else {}
        except (InputError, ValueError, LookupError, TypeError):
            self.stamps = {}  # damaged: every picture is looked at again

    def name(self, file: Path) -> str:
        """The picture's path below the common folder."""
        return os.path.relpath(file.absolute(), self.root)

    def write(self, stamps: dict[str, Stamp]) -> None:
        """Replace the index, if it can be written."""
        if self.path is None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, json.dumps({"folder": self.root, "pictures": stamps}).encode())
        except (OSError, InputError):
            return  # a cache that cannot be kept costs time, and nothing else


def _place(root: str) -> Path | None:
    try:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:  # nobody's home
        return None
    return Path(cache) / "resnet" / "pictures" / f"{hashlib.sha256(root.encode()).hexdigest()[:24]}.json"
