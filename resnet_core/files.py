"""Reading and writing files whole: nothing is half read, half written or lost, and nothing is read without a bound.

The one door for both. What is read is a regular file: a pipe or a device may never end. What is written replaces a
regular file atomically, through a symbolic link the file that it points to; a pipe or a device gets it as a stream.
"""

from __future__ import annotations

import errno
import glob
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from resnet_core.errors import InputError
from resnet_core.temporary import temporary_file, temporary_folder

#: What a file that is read as a whole may have in bytes, unless its kind has another bound.
MOST = 16 * 2**20

#: Symbolic links that are followed, as many as the kernel does.
_LINKS = 40


def read_bytes(path: Path, expected: str, most: int = MOST) -> bytes:
    """The file's bytes. Raises InputError, one line, if it is no readable regular file of at most `most` bytes."""
    with reading(path, expected) as file:
        data = file.read(most + 1)
        if len(data) > most:
            raise InputError(f"{path}: has more than {most:,} bytes; expected {expected}")
        return data


@contextmanager
def reading(path: Path, expected: str) -> Iterator[BinaryIO]:
    """The open file. Raises InputError, one line, if it is not a readable regular file."""
    try:
        with _opened(path, expected) as file:
            yield file
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; expected {expected}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected {expected}") from error


def require_file(path: Path, expected: str) -> None:
    """Raise InputError, one line, if this is not a readable regular file; nothing is read."""
    with reading(path, expected):
        pass


def _opened(path: Path, expected: str) -> BinaryIO:
    """The file, looked at before it is opened, which wakes a device, and after, when nobody can exchange it."""
    if "\0" in str(path):
        raise InputError(f"{path}: cannot be read (a null byte in its name); expected {expected}")
    _require_regular(path, os.stat(path), expected)  # noqa: PTH116
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _require_regular(path, os.fstat(handle), expected)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def _require_regular(path: Path, found: os.stat_result, expected: str) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise InputError(f"{path}: is a directory; expected {expected}")
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{path}: is not a regular file; expected {expected}")


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
    """A new file, with the endings of `path`, to be written inside; then it is synced and takes its place.

    A file that is replaced keeps its permissions; a new one has those that the umask leaves. After an error the old
    file is as it was, and nothing is left beside it. A pipe or a device stays what it is, and gets the content when it
    is whole. Raises InputError if it cannot be written.
    """
    temporary = None
    with _explained(path):
        place, streams = _place(path)
        if streams:
            with tempfile.TemporaryDirectory(prefix="resnet-") as folder:
                temporary = temporary_file(Path(folder), path.name)
                yield temporary
                _pour(temporary, place)
            return
        try:
            temporary, mode = _beside(place)
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.chmod(mode)  # whoever wrote it may have made another file of that name
            temporary.replace(place)
            temporary = None
            _sync_directory(place.parent)
        finally:
            if temporary is not None:
                temporary.unlink(missing_ok=True)


def require_writable(path: Path) -> None:
    """Raise InputError, one line, where `path` cannot be written: said before the work, not after it."""
    with _explained(path):
        place, streams = _place(path)
        if not streams:
            _beside(place)[0].unlink()


def require_folder(path: Path) -> None:
    """Raise InputError, one line, where no folder is that can be written, and none can be made; nothing is made."""
    found = path.absolute()
    with _explained(path):
        while not os.path.lexists(found):
            found = found.parent
        longest = max((len(os.fsencode(part)) for part in path.parts), default=0)
        if os.name == "posix" and longest > os.pathconf(found, "PC_NAME_MAX"):
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        if not found.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        temporary_folder(found, path.name).rmdir()


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A new folder next to `path`, to be filled inside; then it takes its place. After an error nothing is left.

    Raises InputError if something is there already, or it cannot be written.
    """
    if os.path.lexists(path):
        raise InputError(f"{path}: is there already; expected the name of a new folder")
    temporary = None
    with _explained(path):
        try:
            temporary = temporary_folder(path.parent, path.name)
            yield temporary
            temporary.rename(path)
            temporary = None
            _sync_directory(path.parent)
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
    if not replaces and os.path.lexists(path):
        raise InputError(f"{path}: is there already, and is several files; remove it, or write to another name")
    for old in path.parent.glob(f"{glob.escape(path.name)}.data*"):  # before the work is done
        raise InputError(f"{old}: is there already, beside an older {path.name}; remove it, or write to another name")
    placed: list[Path] = []
    folder = None
    with _explained(path):
        try:
            folder = temporary_folder(path.parent, path.name)
            yield folder / path.name
            files = sorted(folder.iterdir(), key=lambda file: file.name == path.name)
            for file in files:
                with file.open("rb+") as opened:
                    os.fsync(opened.fileno())
                place = path.with_name(file.name)
                if os.path.lexists(place) and not (replaces and place == path):
                    raise InputError(f"{place}: is there already; remove it, or write to another name")
                file.replace(place)
                placed.append(place)
            if replaces:  # then the old one is gone, and what is beside it is the new one's
                placed.clear()
            _sync_directory(path.parent)
            placed.clear()
        finally:
            for place in placed:
                place.unlink(missing_ok=True)
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)


def write_new(path: Path, data: bytes) -> None:
    """Write `data` to a file that is not there yet; nothing is done where it is there and the same.

    Raises InputError, and changes nothing, where something else is there or it cannot be written.
    """
    if path.is_file() or path.is_dir():
        if read_bytes(path, "a new file") != data:
            raise InputError(f"{path}: is there with other content; remove it, or write to another file")
        return
    write_atomically(path, data)


def append_lines(path: Path, lines: list[str]) -> None:
    """Append lines to a text file, and wait until they are on disk. Raises InputError if they cannot be written."""
    try:
        if path.exists():
            _require_regular(path, path.stat(), "a file to append to")
        with path.open("ab") as file:
            file.write("".join(f"{line}\n" for line in lines).encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, FileNotFoundError) and path.name and not path.parent.exists():
            raise InputError(f"{path}: {path.parent} is no folder; make it first, or write elsewhere") from error
        raise InputError(f"{path}: cannot be written ({error.strerror}); nothing was changed") from error


def _place(path: Path) -> tuple[Path, bool]:
    """(where the file is or will be, whether it is no regular file and gets a stream). Raises OSError.

    What is in /proc, where /dev/stdout leads, points to what a process has open: that is written to and never replaced.
    """
    if not path.name:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if "\0" in str(path):
        raise OSError(errno.EINVAL, "a null byte in its name")
    for _ in range(_LINKS):
        folder = Path(os.path.realpath(path.parent))
        if Path("/proc") in (folder, *folder.parents) and path.exists():
            return path, True
        if not path.is_symlink():
            break
        path = folder / path.readlink()
    else:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    found = path.stat() if path.exists() else None
    if found is not None and stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return path, found is not None and not stat.S_ISREG(found.st_mode)


def _beside(place: Path) -> tuple[Path, int]:
    """(a new empty file that can take this place, the permissions that it is to have then). Raises OSError."""
    if not place.exists():
        temporary = temporary_file(place.parent, place.name)
        return temporary, stat.S_IMODE(temporary.stat().st_mode)
    if not os.access(place, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    old = place.stat()
    temporary = temporary_file(place.parent, place.name, 0o600)
    with suppress(OSError):  # only root can give files away
        os.chown(temporary, old.st_uid, old.st_gid)
    return temporary, stat.S_IMODE(old.st_mode)


def _pour(source: Path, place: Path) -> None:
    """Copy a file into a pipe or a device. Raises OSError, also where nobody reads the pipe."""
    if sys.stdout is not None:
        sys.stdout.flush()  # which may be the same
    handle = os.open(place, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY)
    os.set_blocking(handle, True)
    with os.fdopen(handle, "wb") as target, source.open("rb") as file:
        shutil.copyfileobj(file, target)


def _sync_directory(directory: Path) -> None:
    if os.name == "posix":  # elsewhere a directory cannot be opened, and the rename is durable enough
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
