"""Data sets as files of bytes: IDX, CIFAR's archive, .npz. Each is checked whole, and has its bound before it is read.

gzip and zip carry a CRC of what is in them, which is compared to the end; what a header promises is compared with what
is there before room is made for it. Anything else raises DataError, one line that names the file.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np

from resnet_core.errors import DataError, InputError, printable
from resnet_core.files import reading

#: Bytes of one array, and of all that an archive unpacks to: a million pictures of 32 x 32.
MOST_BYTES = 2**32

#: Files in an archive, and axes of an array.
MOST_MEMBERS = 1000
MOST_AXES = 4

#: Bytes that are read at once.
_PIECE = 2**20

#: What the readers of Python and NumPy raise on damaged data.
DAMAGED = (
    OSError, EOFError, ValueError, TypeError, KeyError, OverflowError, SyntaxError, RecursionError, NotImplementedError,
    RuntimeError, zlib.error, zipfile.BadZipFile, tarfile.TarError, tokenize.TokenError,
)  # fmt: skip


def idx_array(path: Path) -> np.ndarray:
    """The values of an IDX file, plain or as .gz.

    It has two zero bytes, the data type (8: unsigned bytes), the rank, big-endian sizes, the values.
    """
    with _whole(path, "whole gzip file" if path.suffix == ".gz" else "whole IDX file") as file:
        stream: IO[bytes] = gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file  # type: ignore[assignment]
        start = stream.read(4)
        rank = start[3] if len(start) > 3 else 0
        sizes = stream.read(4 * min(rank, MOST_AXES))
        if start[:3] != b"\x00\x00\x08" or not 0 < rank <= MOST_AXES or len(sizes) < 4 * rank:
            said = start.hex(" ") or "nothing"
            raise DataError(f"{path}: not an IDX file of unsigned bytes (it starts with {said})")
        shape = tuple(int.from_bytes(sizes[4 * axis : 4 * axis + 4], "big") for axis in range(rank))
        _require_bound(path, prod(shape), f"its header says {shape}")
        values = _exactly(stream, prod(shape))
        if len(values) != prod(shape) or stream.read(1):  # at its end, the CRC is compared
            found = f"{len(values)}" if len(values) < prod(shape) else f"more than {len(values)}"
            raise DataError(f"{path}: {found} values where its header says {shape}; it was truncated or changed")
        return np.frombuffer(values, np.uint8).reshape(shape)


def tar_members(path: Path, ending: str) -> Iterator[tuple[str, bytes]]:
    """(name, content) of the files in a .tar.gz whose names have this ending."""
    with _whole(path, "whole tar file") as file, gzip.GzipFile(fileobj=file) as whole:
        bounded = _Bounded(path, whole)
        with tarfile.open(fileobj=bounded, mode="r|") as archive:
            for number, member in enumerate(archive):
                if number == MOST_MEMBERS:
                    raise DataError(f"{path}: holds more than {MOST_MEMBERS} files; expected a data set's archive")
                if member.isfile() and member.name.endswith(ending):
                    stream = archive.extractfile(member)
                    yield member.name, stream.read() if stream else b""
        while bounded.read(_PIECE):  # to the end, where the CRC is
            pass


def npz_arrays(path: Path, wanted: tuple[str, ...]) -> list[np.ndarray]:
    """The wanted arrays of an .npz file, whose numbers are integers or floating."""
    with _whole(path, "readable .npz file") as file, zipfile.ZipFile(file) as archive:
        members = {name.removesuffix(".npy"): name for name in archive.namelist()}
        missing = [key for key in wanted if key not in members]
        if missing:
            named = ", ".join(map(printable, list(members)[:10]))
            raise DataError(f"{path}: holds {named or 'nothing'}; expected {', '.join(wanted)}")
        sizes = [archive.getinfo(members[key]).file_size for key in wanted]
        _require_bound(path, sum(sizes), "its directory says so")
        return [_npy(path, archive, members[key], size) for key, size in zip(wanted, sizes, strict=True)]


def _npy(path: Path, archive: zipfile.ZipFile, name: str, size: int) -> np.ndarray:
    """One member: its header, then exactly as many bytes as it says, to the end, where the CRC is compared."""
    with archive.open(name) as stream:
        version = np.lib.format.read_magic(stream)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in read_header:
            raise DataError(f"{path}: {printable(name)} is of the version {version}; expected 1.0 or 2.0")
        shape, fortran, dtype = read_header[version](stream)
        if dtype.kind not in "iuf" or len(shape) > MOST_AXES:
            raise DataError(
                f"{path}: {printable(name)} is {dtype} with {len(shape)} axes; expected integers, at most 4"
            )
        promised = prod(shape) * dtype.itemsize
        if promised != size - stream.tell():
            raise DataError(f"{path}: {printable(name)} has {size - stream.tell():,} bytes where it says {promised:,}")
        values = _exactly(stream, promised)
        stream.read(1)
        if len(values) != promised:
            raise DataError(f"{path}: {printable(name)} ends early")
    return np.frombuffer(values, dtype).reshape(shape, order="F" if fortran else "C")


def _exactly(stream: IO[bytes], count: int) -> bytes:
    """So many bytes, or fewer where there are no more: room is made for what is there, and not for what is said."""
    found = io.BytesIO()
    while piece := stream.read(min(_PIECE, count - found.tell())):
        found.write(piece)
    return found.getvalue()


def _require_bound(path: Path, count: int, why: str) -> None:
    if count > MOST_BYTES:
        raise DataError(f"{path}: has {count:,} bytes ({why}); expected at most {MOST_BYTES:,}")


class _Bounded(io.RawIOBase):
    """A stream that ends in a DataError before it has unpacked more than an archive may hold."""

    def __init__(self, path: Path, stream: IO[bytes] | gzip.GzipFile) -> None:
        self.path, self.stream, self.seen = path, stream, 0

    def read(self, size: int = -1) -> bytes:
        data = self.stream.read(min(size, _PIECE) if size >= 0 else _PIECE)
        self.seen += len(data)
        _require_bound(self.path, self.seen, "and more, unpacked")
        return data


@contextmanager
def _whole(path: Path, kind: str) -> Iterator[BinaryIO]:
    try:
        with reading(path, "a data set's file") as file:
            yield file
    except InputError as error:
        raise error if isinstance(error, DataError) else DataError(str(error)) from error
    except DAMAGED as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: not a {kind} ({reason[:200]}); get a fresh copy") from error
