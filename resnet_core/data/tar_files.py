"""Tar files in WebDataset's layout: a sample is what shares a name up to its first dot, `a/0001.jpg` and `a/0001.cls`.

A file is read once, from header to header, for the place of every picture; pictures are then read from where they are.
So it has to be uncompressed. The class is in `.cls`, a number or a name, or in `.json`, as its "label".
"""

from __future__ import annotations

import json
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from resnet_core.data.archives import DAMAGED
from resnet_core.data.index import Entry, Part
from resnet_core.data.shard_files import PLAIN
from resnet_core.errors import DataError, InputError, printable
from resnet_core.files import reading

ENDING = ".tar"

#: Of a sample, the ends of names that are read.
PICTURES = ("jpg", "jpeg", "png")

#: Bytes of a picture, of what says its class, and of a header.
MOST_PICTURE = 2**28
MOST_CLASS = 2**16
_MOST_HEADER = 2**20

#: How compressed files begin.
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd"}

_EXPECTED = "a tar file in WebDataset's layout"


@dataclass
class _Sample:
    picture: tuple[str, int, int] | None = None  #: its name, size, and place in the file
    label: int | str | None = None


def part(root: Path, name: str, stamp: tuple[int, int], *, labeled: bool = True) -> Part:
    """The pictures in a tar file, with their places, in its order. Raises DataError, one line.

    With `labeled`, each has to have a class; without, classes are left alone.
    """
    path = root / name
    try:
        with reading(path, _EXPECTED) as file:
            samples = _samples(path, file, labeled)
    except InputError as error:
        raise error if isinstance(error, DataError) else DataError(str(error)) from error
    except (*DAMAGED, MemoryError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: not a whole tar file ({reason[:200]}); get a fresh copy") from error
    for key, sample in samples.items():
        if sample.picture is None or (labeled and sample.label is None):
            has, lacks = "a picture", "class (.cls, .json)"
            if sample.picture is None:
                has, lacks = "a class", "picture (.jpg, .png)"
            raise DataError(f"{path}: the sample {printable(key)!r} has {has} and no {lacks}; expected both")
    labels = [sample.label for sample in samples.values()]
    classes = sorted({label for label in labels if isinstance(label, str)})
    if classes and not all(isinstance(label, str) for label in labels):
        raise DataError(
            f"{path}: some classes are numbers, and some names such as {printable(classes[0])!r}; expected either"
        )
    numbers = {label: number for number, label in enumerate(classes)}
    entries: list[Entry] = []
    for sample in samples.values():
        own = numbers[sample.label] if isinstance(sample.label, str) else sample.label
        if sample.picture is not None:
            entries.append((*sample.picture, -1 if own is None else own))
    return Part.of(name, entries, stamp, {"classes": classes or None})


class _Tars:
    """The store of pictures in tar files below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, part: Part, number: int) -> Path:
        return self.root / part.name / part.picture(number)

    def content(self, part: Part, number: int) -> bytes:
        path, size = self.root / part.name, int(part.sizes[number])
        with reading(path, _EXPECTED) as file:
            require_same(path, file, part)
            file.seek(int(part.places[number]))
            found = file.read(size)
        if len(found) != size:
            raise DataError(f"{path}: ends before {printable(part.picture(number))} does; get a fresh copy")
        return found


def store(root: Path) -> _Tars:
    """Where the pictures are read from."""
    return _Tars(root)


def require_same(path: Path, file: BinaryIO, part: Part) -> None:
    """Raise DataError for a file that has changed since its index was made: places in it mean nothing any more."""
    found = os.fstat(file.fileno())
    if (found.st_size, found.st_mtime_ns) != part.stamp:
        raise DataError(f"{path}: has changed while it was in use; start again")


class _Headers:
    """A file of which nothing large is read: whatever a header promises."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self.file = path, file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _MOST_HEADER:
            raise DataError(f"{self.path}: a header at byte {self.tell():,} has {size:,} bytes; get a fresh copy")
        return self.file.read(size)


def _samples(path: Path, file: BinaryIO, labeled: bool) -> dict[str, _Sample]:
    start = file.read(8)
    for magic, kind in _COMPRESSED.items():
        if start.startswith(magic):
            raise DataError(f"{path}: is compressed ({kind}); {PLAIN}")
    file.seek(0)
    samples: dict[str, _Sample] = {}
    with tarfile.open(fileobj=_Headers(path, file), mode="r:") as archive:  # type: ignore[call-overload]
        while (member := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # which it would keep
            _add(path, file, member, samples, labeled)
        end = archive.offset  # type: ignore[attr-defined]
    file.seek(end)
    block = file.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE or any(block):
        what = "ends without the mark of its end" if len(block) < tarfile.BLOCKSIZE else "has no header"
        raise DataError(f"{path}: not a whole tar file ({what}, at byte {end:,}); get a fresh copy")
    return samples


def _add(path: Path, file: BinaryIO, member: tarfile.TarInfo, samples: dict[str, _Sample], labeled: bool) -> None:
    shown = f"{path}: {printable(member.name)}"
    if member.size < 0 or member.offset_data < member.offset + tarfile.BLOCKSIZE:
        raise DataError(f"{shown} has {member.size:,} bytes; get a fresh copy")
    if member.isdir():
        return
    if member.offset_data + member.size > os.fstat(file.fileno()).st_size and member.isreg():
        raise DataError(f"{path}: not a whole tar file (it ends within {printable(member.name)}); get a fresh copy")
    folder, _, name = member.name.rpartition("/")
    stem, _, ending = name.partition(".")
    if not stem:  # hidden, which programs leave there
        return
    if not member.isreg() or member.issparse():
        raise DataError(f"{shown} is no plain file, but a link or a device; expected pictures and their classes")
    ending, key = ending.lower(), f"{folder}/{stem}" if folder else stem
    if ending.split(".")[-1] in ("tar", "tgz") or ending.endswith(("tar.gz", "tar.xz", "tar.bz2")):
        raise DataError(f"{shown} is a tar file in a tar file; unpack the outer one, or make shards of samples")
    if ending in PICTURES:
        sample = samples.setdefault(key, _Sample())
        if sample.picture is not None:
            raise DataError(f"{shown} is the second picture of its sample; expected one")
        if member.size > MOST_PICTURE:
            raise DataError(f"{shown} has {member.size:,} bytes; expected a picture of at most {MOST_PICTURE:,}")
        sample.picture = (member.name, member.size, member.offset_data)
    elif labeled and ending in ("cls", "json"):
        sample = samples.setdefault(key, _Sample())
        if member.size > MOST_CLASS:
            raise DataError(f"{shown} has {member.size:,} bytes; expected a class in at most {MOST_CLASS:,}")
        before = file.tell()
        file.seek(member.offset_data)
        content = file.read(member.size)
        file.seek(before)
        label = _number_or_name(shown, content) if ending == "cls" else _json_label(shown, content)
        if None not in (label, sample.label) and label != sample.label:
            raise DataError(f"{shown} says the class {label!r}, and another file of its sample {sample.label!r}")
        sample.label = sample.label if label is None else label


def _number_or_name(shown: str, content: bytes) -> int | str:
    try:
        text = content.decode().strip()
    except UnicodeDecodeError:
        text = ""
    if not text or not text.isprintable() or len(text) > 1000:
        raise DataError(f"{shown} holds {content[:40]!r}; expected a class, its number or its name")
    return (
        _checked(shown, int(text)) if text.isascii() and text.removeprefix("-").isdecimal() and len(text) < 19 else text
    )


def _json_label(shown: str, content: bytes) -> int | str | None:
    """None where it says nothing of a class, which may be in a `.cls`."""
    try:
        found = json.loads(content)
        label = found.get("label") if isinstance(found, dict) else None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{shown} is no JSON; expected an object with the class as its label") from error
    if label is None:
        return None
    if isinstance(label, bool) or not isinstance(label, int | str):
        raise DataError(f"{shown} has the label {str(label)[:40]!r}; expected a class, its number or its name")
    return _checked(shown, label) if isinstance(label, int) else _number_or_name(shown, label.encode(errors="replace"))


def _checked(shown: str, label: int) -> int:
    if not 0 <= label < 2**31:
        raise DataError(f"{shown} says the class {label}; expected classes from 0")
    return label
