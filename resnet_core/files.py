"""Reading and writing files whole: nothing is half read, half written or lost."""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from resnet_core.errors import InputError


def read_bytes(path: Path, expected: str) -> bytes:
    """The file's bytes. Raises InputError, one line, if it is not a readable regular file."""
    with _readable(path, expected):
        return path.read_bytes()


@contextmanager
def reading(path: Path, expected: str) -> Iterator[BinaryIO]:
    """The open file. Raises InputError, one line, if it is not a readable regular file."""
    with _readable(path, expected), path.open("rb") as file:
        yield file


def require_file(path: Path, expected: str) -> None:
    """Raise InputError, one line, if this is not a readable regular file; nothing is read."""
    with _readable(path, expected):
        path.open("rb").close()


@contextmanager
def _readable(path: Path, expected: str) -> Iterator[None]:
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a directory; expected {expected}")
        if path.exists() and not path.is_file():  # a pipe or a device may never end
            raise InputError(f"{path}: is not a regular file; expected {expected}")
        yield
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; expected {expected}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected {expected}") from error


def files_of(path: Path) -> list[Path]:
    """The file itself, all in a folder, or those of a TensorFlow checkpoint by its index.

    The weights that a program's own file keeps beside it are not among them (`network_files` of its backend).
    """
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    return [path, *sorted(path.parent.glob(f"{glob.escape(path.stem)}.data-*"))] if path.suffix == ".index" else [path]


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` next to `path`, sync, and rename: readers see either the old file or the new one, whole.

    Raises InputError if it cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new file next to `path`, with its endings, to be written inside; then it is synced and takes its place.

    After an error the old file is as it was, and nothing is left beside it. Raises InputError if it cannot be written.
    """
    temporary = None
    try:
        handle, name = tempfile.mkstemp(prefix=".", suffix=f".{path.name}", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        temporary = None
        _sync_directory(path.parent)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); nothing was changed") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A new folder next to `path`, to be filled inside; then it takes its place. After an error nothing is left.

    Raises InputError if something is there already, or it cannot be written.
    """
    if path.exists() or path.is_symlink():
        raise InputError(f"{path}: is there already; expected the name of a new folder")
    temporary = None
    try:
        temporary = Path(tempfile.mkdtemp(prefix=".", suffix=f".{path.name}", dir=path.parent))
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        temporary.rename(path)
        temporary = None
        _sync_directory(path.parent)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); nothing was changed") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def new_files(path: Path, *, replaces: bool = False) -> Iterator[Path]:
    """A new file of the name of `path`, to be written inside with what belongs beside it; then all take their places.

    The file itself is the last, so that nobody finds it without the others. They cannot be replaced together: after an
    error nothing is left. With `replaces`, the file itself takes the place of an old one, and only the others have to
    be new. Raises InputError if one of them is there already, or cannot be written.
    """
    if not replaces and (path.exists() or path.is_symlink()):
        raise InputError(f"{path}: is there already, and is several files; remove it, or write to another name")
    for old in path.parent.glob(f"{glob.escape(path.name)}.data*"):  # before the work is done
        raise InputError(f"{old}: is there already, beside an older {path.name}; remove it, or write to another name")
    placed: list[Path] = []
    try:
        with tempfile.TemporaryDirectory(prefix=".", suffix=f".{path.name}", dir=path.parent) as folder:
            yield Path(folder) / path.name
            files = sorted(Path(folder).iterdir(), key=lambda file: file.name == path.name)
            for file in files:
                with file.open("rb+") as opened:
                    os.fsync(opened.fileno())
                place = path.with_name(file.name)
                replaced = replaces and place == path
                if not replaced and (place.exists() or place.is_symlink()):
                    raise InputError(f"{place}: is there already; remove it, or write to another name")
                file.replace(place)
                placed.append(place)
            if replaces:  # then the old one is gone, and what is beside it is the new one's
                placed.clear()
            _sync_directory(path.parent)
            placed.clear()
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); nothing was changed") from error
    finally:
        for place in placed:
            place.unlink(missing_ok=True)


def write_new(path: Path, data: bytes) -> None:
    """Write `data` to a file that is not there yet; nothing is done where it is there and the same.

    Raises InputError, and changes nothing, where something else is there or it cannot be written.
    """
    if path.exists() or path.is_symlink():
        if read_bytes(path, "a new file") != data:
            raise InputError(f"{path}: is there with other content; remove it, or write to another file")
        return
    write_atomically(path, data)


def append_lines(path: Path, lines: list[str]) -> None:
    """Append lines to a text file, and wait until they are on disk. Raises InputError if they cannot be written."""
    try:
        with path.open("ab") as file:
            file.write("".join(f"{line}\n" for line in lines).encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_directory(directory: Path) -> None:
    if os.name == "posix":  # elsewhere a directory cannot be opened, and the rename is durable enough
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
