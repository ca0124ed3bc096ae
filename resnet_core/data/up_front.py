"""Looking at every picture of a data set before a run: what cannot be read is named at once, and not in the third hour.

A JPEG or PNG file is judged by its header and its last bytes, in a third (96 x 96) to a thirtieth (768 x 512) of the
time that it takes to read it whole; one that does not end as it should, and every other kind, is read whole. So all
that is no picture, is missing or is cut short is found; damage in the middle of a file shows when it is read. What was
good is remembered in the data set's index (`resnet_core.data.index`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from resnet_core.cores import cores
from resnet_core.data.dataset import Dataset
from resnet_core.data.images import check_header, read_picture
from resnet_core.data.pictures import Pictures
from resnet_core.errors import DataError, InputError

#: How a whole file ends, by kind, and by how it begins where a picture has no name.
ENDS = {".jpg": b"\xff\xd9", ".jpeg": b"\xff\xd9", ".png": b"IEND\xaeB`\x82"}
BEGINS = {b"\xff\xd8\xff": ".jpg", b"\x89PNG\r\n\x1a\n": ".png"}

#: Pictures from which on it is said that they are looked at.
MANY = 1000

#: Bad pictures that a message names.
NAMED = 50

#: Pictures that wait to be looked at: what is known of one takes more memory than its name.
_WAITING = 4096

T = TypeVar("T")


def require_pictures(data: Dataset, note: Callable[[str], None] = lambda message: None) -> None:
    """Raise DataError, one line that names the pictures which cannot be read; nothing for a data set of arrays.

    `note` is told where many are looked at.
    """
    splits = [split.files for split in (data.train, data.test) if split.files is not None]
    new = [files.unseen() for files in splits]
    count = sum(map(len, new))
    if not count:
        return
    if count >= MANY:
        note(f"{data.name}: looking at {count:,} pictures that are new or have changed")
    bad, named = 0, list[str]()
    with ThreadPoolExecutor(cores()) as pool:
        for files, rows in zip(splits, new, strict=True):
            good = np.ones(len(rows), bool)
            for number, problem in enumerate(a_few_at_a_time(pool, partial(_problem, files), rows.tolist())):
                if problem:
                    good[number], bad = False, bad + 1
                    named += [problem] if len(named) < NAMED else []
            files.approve(rows[good])
    for files in splits:
        files.catalog.keep()
    if bad:
        rest = f"; and {bad - NAMED:,} more" if bad > NAMED else ""
        raise DataError(
            f"{data.name}: {bad:,} of {sum(map(len, splits)):,} pictures cannot be read: {'; '.join(named)}{rest}; "
            "replace or remove them"
        )


def a_few_at_a_time(pool: Executor, look: Callable[[int], T], rows: Sequence[int]) -> Iterator[T]:
    """What `look` finds of each row, in order; of many rows, only some wait at a time."""
    for start in range(0, len(rows), _WAITING):
        yield from pool.map(look, rows[start : start + _WAITING])


def _problem(files: Pictures, row: int) -> str:
    """What is wrong with a picture, in a few words; "" for nothing."""
    path = files[row]
    try:
        content = files.content(row)
        check_header(path, content)
        begins = (kind for start, kind in BEGINS.items() if content is not None and content.startswith(start))
        end = ENDS.get(path.suffix.lower() or next(begins, ""))
        if end is None or _last_bytes(path, content, len(end)) != end:
            read_picture(path, "RGB", content)
    except InputError as error:
        return str(error).rpartition(", expected")[0] or str(error)
    return ""


def _last_bytes(path: Path, content: bytes | None, count: int) -> bytes:
    if content is not None:
        return content[-count:]
    try:
        with path.open("rb") as opened:
            opened.seek(-count, os.SEEK_END)
            return opened.read()
    except OSError:  # shorter than that, or gone: reading it says what it is
        return b""
