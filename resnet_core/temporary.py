"""Temporary files beside what they will replace: named so that those of a process that was killed are recognized.

A name is `.resnet-MACHINE-PROCESS-BEGUN-RANDOM` with the endings of the file that it becomes. One whose process lives
is never touched, however long it takes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import socket
import time
from functools import cache
from pathlib import Path

#: Seconds after which a file of another machine, whose processes nobody here knows, is left over.
OLD = 24 * 3600

_NAME = re.compile(r"\.resnet-(?P<machine>[0-9a-f]{8})-(?P<process>\d+)-(?P<begun>\d+)-[0-9a-f]{8}(\..*)?")

#: Folders in which this process has removed what earlier ones left.
_seen: set[str] = set()


def temporary_file(folder: Path, name: str, mode: int = 0o666) -> Path:
    """A new empty file in `folder`, with the endings of `name`; the kernel applies the umask to `mode`.

    Raises OSError.
    """
    path = _new_name(folder, name)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
    return path


def temporary_folder(folder: Path, name: str) -> Path:
    """A new empty folder in `folder`, with the endings of `name`. Raises OSError."""
    path = _new_name(folder, name)
    path.mkdir()
    return path


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files in a folder whose processes are gone; what cannot be removed stays."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            if (found := _NAME.fullmatch(entry.name)) and _is_left(Path(entry.path), found):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    with contextlib.suppress(OSError):
                        Path(entry.path).unlink()


def _new_name(folder: Path, name: str) -> Path:
    """A name in `folder` that nobody has; what killed processes left there is removed the first time."""
    place = os.path.realpath(folder)
    if place not in _seen:
        _seen.add(place)
        remove_leftovers(folder)
    # As many endings as readers look at; a name of 255 bytes has no room for more.
    endings = "".join(ending for ending in Path(name).suffixes[-2:] if len(ending.encode(errors="replace")) <= 16)
    process = os.getpid()
    return folder / f".resnet-{_machine()}-{process}-{_begun(process) or 0}-{secrets.token_hex(4)}{endings}"


def _is_left(path: Path, name: re.Match[str]) -> bool:
    if name["machine"] != _machine():
        return time.time() - path.lstat().st_mtime > OLD
    process = int(name["process"])
    if (begun := _begun(process)) is not None:
        return begun != int(name["begun"])  # otherwise another process has its number now
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:
        return False
    return False


def _begun(process: int) -> int | None:
    """When a process began, in the kernel's unit; None where nothing says."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(errors="replace")
        return int(text.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


@cache
def _machine() -> str:
    """Who counts the processes: the host, or the container in it."""
    try:
        space = os.readlink("/proc/self/ns/pid")  # noqa: PTH115
    except OSError:
        space = ""
    return hashlib.sha256(f"{socket.gethostname()} {space}".encode()).hexdigest()[:8]
