"""One run, one process: a lock that the kernel holds for a process, and lets go when that ends, however it does.

The file stays, since one that is removed could be locked by two; that it is there says nothing.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from resnet_core.errors import InputError, printable

try:
    import fcntl
except ImportError:  # no POSIX system; there, nothing is locked
    fcntl = None  # type: ignore[assignment]

#: The file in a run's folder that is locked. It has the process and the machine that locked it last.
LOCK = ".lock"

#: File systems without locks answer with one of these; there, nothing is locked.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Inside, nobody else gets the lock of this folder, which is there. Nobody waits.

    Raises InputError, one line, where another process has it, or another call in this one, or it cannot be made.
    """
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise InputError(f"{folder}: a run cannot be kept here ({error.strerror}); nothing was changed") from error
    try:
        _lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = printable(os.pread(descriptor, 300, 0).decode(errors="replace").strip()) or "another process"
        raise InputError(
            f"{folder}: {holder} is training here; one run has one process, so wait for its end, or stop it"
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise InputError(f"{folder}: cannot be locked ({error.strerror}); nothing was changed") from error
        return
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
