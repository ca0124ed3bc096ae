"""Memory that is allocated again and again does not come anew from the system, page by page."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from resnet_core.workers.child import Arrays, Session
from resnet_core.workers.parent import Worker

GLIBC = platform.libc_ver()[0] == "glibc"
pytestmark = pytest.mark.skipif(not GLIBC, reason="the C library is not glibc")

#: Pages that the system hands out while 64 MiB are filled and freed ten times, after the first. (NumPy's own arrays
#: have huge pages anyway.)
PROGRAM = """
import resource
size = 2**26
from resnet_core.workers.memory import keep_freed_memory
{first}
bytes([1]) * size
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    bytes([1]) * size
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def pages(first: str) -> int:
    program = [sys.executable, "-c", PROGRAM.format(first=first)]
    return int(subprocess.run(program, capture_output=True, text=True, check=True).stdout)


def test_freed_memory_is_kept_where_it_was_asked_for() -> None:
    assert pages("pass") > 1_000
    assert pages("assert keep_freed_memory()") < 200


def tunables(session: Session, arrays: Arrays) -> tuple[str, None]:
    return os.environ["GLIBC_TUNABLES"], None


@pytest.mark.parametrize("given", [None, "glibc.malloc.check=0"])
def test_a_worker_has_huge_pages_unless_the_user_says_otherwise(
    given: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    if given is not None:
        monkeypatch.setenv("GLIBC_TUNABLES", given)
    with Worker(environment={"PYTHONPATH": str(Path(__file__).parent)}) as worker:
        found, _ = worker.call("test_memory:tunables")
    assert found == (given or "glibc.malloc.hugetlb=1")
