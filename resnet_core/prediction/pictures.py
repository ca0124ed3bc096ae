"""Batches of images from many picture files: in parallel, a few at a time, and each bad file by name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from resnet_core.cores import cores
from resnet_core.data.images import PICTURES
from resnet_core.data.pictures import Pictures
from resnet_core.data.prepare import prepared_image
from resnet_core.data.readers import pictures_in_shards
from resnet_core.errors import InputError
from resnet_core.preparation import Preparation

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class PictureBatch:
    """Some of the files: `images` (n, height, width, channels) are of those that have no error, in order."""

    files: tuple[str, ...]
    errors: tuple[str | None, ...]
    images: np.ndarray


class StoredName(str):
    """What a picture in a shard is called, which knows where it is."""

    pictures: Pictures
    row: int


def picture_files(sources: PathLike | Sequence[PathLike]) -> list[str]:
    """The named files, and of each folder the pictures in it, by name; of shards, all pictures in them.

    Raises InputError for a folder without any.
    """
    named = [sources] if isinstance(sources, str | os.PathLike) else list(sources)
    files: list[str] = []
    for source in named:
        if not os.path.isdir(source):  # noqa: PTH112 (which has no error for a name that is too long)
            files += _in_shards(Path(source)) or [os.fspath(source)]
            continue
        found = sorted(str(path) for path in Path(source).rglob("*") if path.suffix.lower() in PICTURES)
        found = found or _in_shards(Path(source))
        if not found:
            raise InputError(f"{source}: a folder without pictures; expected some that end in {', '.join(PICTURES)}")
        files += found
    if not files:
        raise InputError("pictures: received none; expected files, or folders with pictures in them")
    return files


def _in_shards(path: Path) -> list[str]:
    """The pictures in tar or Parquet files; none where there are no such files."""
    try:
        found = pictures_in_shards(path)
    except OSError:  # a name that is none
        return []
    names: list[str] = []
    for row, name in enumerate(found or ()):
        own = StoredName(name)
        own.pictures, own.row = found, row  # type: ignore[assignment]
        names.append(own)
    return names


def picture_batches(files: Sequence[str], preparation: Preparation, size: int) -> Iterator[PictureBatch]:
    """The files in batches of `size`; the next one is read while one is in use. Two are in memory at a time."""
    chunks = [files[start : start + size] for start in range(0, len(files), size)]
    with ThreadPoolExecutor(cores()) as pool:  # Pillow decodes and resizes without Python's lock
        waiting = [pool.submit(_read, file, preparation) for file in chunks[0]]
        for index, chunk in enumerate(chunks):
            read = [future.result() for future in waiting]
            following = chunks[index + 1] if index + 1 < len(chunks) else ()
            waiting = [pool.submit(_read, file, preparation) for file in following]
            images = [image for image, _ in read if image is not None]
            empty = np.empty((0, *preparation.size, preparation.channels), np.float32)
            yield PictureBatch(tuple(chunk), tuple(error for _, error in read), np.stack(images) if images else empty)


def _read(file: str, preparation: Preparation) -> tuple[np.ndarray | None, str | None]:
    try:
        if isinstance(file, StoredName):
            return prepared_image(file, preparation, file.pictures.content(file.row)), None
        return prepared_image(file, preparation), None
    except InputError as error:
        return None, str(error)
