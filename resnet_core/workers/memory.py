"""The memory of a worker process: what it has had, and what it may have."""

from __future__ import annotations

import ctypes
import errno
import re
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def peak_resident_memory() -> int:
    """Bytes. `getrusage` on Linux starts a child with its parent's peak, so it is not asked where /proc knows."""
    if (peak := _status("VmHWM")) is not None:
        return peak
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux kibibytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def keep_freed_memory() -> bool:
    """Let this process keep what it frees for what it allocates next, where the C library is glibc. Returns whether.

    Feature maps are allocated and freed in every step; without this they go back to the system, and come back page by
    page. Worker processes have huge pages instead (`parent.DEFAULTS`), which cannot be asked for after the start.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1) & mallopt(_M_MMAP_MAX, 0))


#: As in glibc's malloc.h: how much free memory at its end a heap keeps, and how many blocks are mapped on their own.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


@contextmanager
def bounded_memory(more: int) -> Iterator[None]:
    """Inside, so many bytes more than the process has now and then a MemoryError; on Linux, where it can be told."""
    before, (soft, hard) = _status("VmData"), resource.getrlimit(resource.RLIMIT_DATA)
    limits = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
    if before is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (min([before + more, *limits]), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


#: How PyTorch, XLA, TensorFlow, the C++ library and the system say that no more memory can be had, in errors of other
#: kinds than MemoryError. A thread that cannot be started has no memory for its stack, unless there are too many.
_LACKING = re.compile(
    r"can't allocate memory|Cannot allocate memory|\bout of memory|RESOURCE_EXHAUSTED|ResourceExhausted|OOM when|"
    r"bad_alloc|Unable to allocate|can't start new thread|pthread_create\b.* failed|"
    r"what\(\): +Resource temporarily unavailable",
    re.IGNORECASE,
)


def no_memory(error: BaseException | None) -> str | None:
    """What could not be had, in a line, where this error, or one that led to it, says that no memory was left."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
            return str(error) or "no more can be had"
        if isinstance(error, Exception) and lacking(text := str(error)):
            return text.splitlines()[0]
        error = error.__cause__ or error.__context__
    return None


def lacking(text: str) -> bool:
    """Whether a framework's words say that no memory was left."""
    return _LACKING.search(text) is not None


def _status(kind: str) -> int | None:
    """Bytes of this process as Linux counts them."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{kind}:")), None)
