"""Small data sets of pictures, stored as folders by class and as shards, with the same pictures in the same order."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image

from resnet_core.data.images import sample_fashion

#: (name, content) of a member of a tar file.
Member = tuple[str, bytes]


def pictures(count: int, *, first: int = 0, classes: int = 3) -> list[tuple[str, bytes, int]]:
    """(name, a JPEG or PNG of a size of its own, class), by class and name."""
    found = []
    for number, picture in enumerate(sample_fashion()[0][first : first + count], start=first):
        kind, written = ("JPEG", "PNG")[number % 2], io.BytesIO()
        Image.fromarray(picture[..., 0]).convert("RGB").resize((20 + number % 9, 31 - number % 7)).save(written, kind)
        found.append((f"{number:03}.{'jpg' if kind == 'JPEG' else 'png'}", written.getvalue(), number % classes))
    return sorted(found, key=lambda each: (each[2], each[0]))


def write_folder(folder: Path, names: Sequence[str], train: int = 25, test: int = 8) -> Path:
    """By class, `names` are theirs."""
    for part, found in (("train", pictures(train)), ("test", pictures(test, first=train))):
        for name, content, label in found:
            place = folder / part / names[label]
            place.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(content)
    return folder


def write_tar(path: Path, members: Iterable[Member]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            about = tarfile.TarInfo(name)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    return path


def samples(found: Sequence[tuple[str, bytes, int]], names: Sequence[str] | None = None) -> list[Member]:
    """Each picture, then its class: by number, or by name."""
    members = []
    for name, content, label in found:
        members += [(name, content), (f"{name[:3]}.cls", str(label if names is None else names[label]).encode())]
    return members


def write_tars(folder: Path, names: Sequence[str] | None = None, train: int = 25, test: int = 8) -> Path:
    """Three files to train on and one to test."""
    found = pictures(train)
    for number in range(3):
        own = found[number * len(found) // 3 : (number + 1) * len(found) // 3]
        write_tar(folder / f"train-{number:03}.tar", samples(own, names))
    write_tar(folder / "test-000.tar", samples(pictures(test, first=train), names))
    return folder
