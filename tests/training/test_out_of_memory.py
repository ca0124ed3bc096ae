"""A rank for which no memory is left ends all, in one line that says so; what was saved is whole, and the run goes on.

Its memory is bounded while it trains. The test pictures, all at once, need more than steps do: so it is at the end of
the first epoch that it cannot have what it needs. For XLA too a bound of addresses will do: it has reserved what it
reserves (1.8 GB) by then, and the bound is counted from there.
"""

from __future__ import annotations

import os
import re
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from launched_runs import LENGTH, worker
from run_work import Work, done
from test_several_processes import Running, checkpoint, resumed, same_bits

from resnet_core.data.images import sample_fashion

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the ranks are found in /proc"),
]

#: Bytes that a rank may have besides those that it has, in the middle of its first epoch.
MORE = 48 * 2**20
#: Of an epoch, in which it has to be bounded, and pixels: XLA, which is not asked to optimize, takes its time.
STEPS, SIDE = {"torch": 40, "flax": 12, "keras": 12}, {"torch": 96, "flax": 64, "keras": 64}
ENVIRONMENTS = {"torch": {}, "flax": {}, "keras": {"KERAS_BACKEND": "jax"}}
LINE = "all others were ended. What was saved is whole: --resume goes on from there"

Bound = Callable[[int], object]
backends = pytest.mark.parametrize("backend", STEPS)


def struck(work: Work, backend: str, rank: int, bound: Bound) -> str:
    """What is said of a run of two, of which one process is bounded in its first epoch. It goes on to the same bits."""
    images, labels = (np.concatenate([each] * 6) for each in sample_fashion())
    train, test = slice(None, 7 * STEPS[backend]), slice(100, None)
    arrays = {"x_train": images[train], "y_train": labels[train], "x_test": images[test], "y_test": labels[test]}
    np.savez(work.folder / "data.npz", **arrays)
    own, size = ENVIRONMENTS[backend], f"--with=resize=[{SIDE[backend]}, {SIDE[backend]}]"
    done(work.train(backend, "two", *LENGTH, size, "--processes", "2", **own))
    running = Running(work, "struck", size, backend=backend, **own)
    process = worker(running.process.pid, rank)
    while running.steps() < 3:
        time.sleep(0.005)
    bound(process)
    while running.steps() < STEPS[backend] and running.process.poll() is None:
        time.sleep(0.05)
    begin = time.monotonic()
    code, said = running.end()  # its last line: no traceback comes after it
    assert time.monotonic() - begin < 30
    assert code == 1, said
    assert running.steps() == STEPS[backend], "what is saved before the test pictures are looked at"
    checkpoint(running.run)
    done(resumed(work, "struck", "--backend", backend, "--processes", "2", **own))
    assert same_bits(running.run, work.folder / "two")
    return said


def short_of_addresses(process: int) -> None:
    """The process cannot have more addresses than MORE."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    size = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmSize:"))
    resource.prlimit(process, resource.RLIMIT_AS, (size + MORE, size + MORE))


@backends
@pytest.mark.parametrize("rank", [0, 1])
def test_an_allocation_that_fails(work: Work, backend: str, rank: int) -> None:
    """An error of the framework's own kind; JAX' client then aborts the other rank, which nobody hears of."""
    said = struck(work, backend, rank, short_of_addresses)
    assert re.fullmatch(rf"resnet: rank {rank} ran out of memory \(.+\); {re.escape(LINE)}", said)


@pytest.fixture
def group() -> Iterator[Bound]:
    """A control group for memory, of either version, into which one process can be put: the kernel ends it there."""
    root = Path("/sys/fs/cgroup")
    old = (root / "memory").is_dir()
    folder = (root / "memory" if old else root) / f"resnet-{os.getpid()}"
    limit = folder / ("memory.limit_in_bytes" if old else "memory.max")
    try:
        folder.mkdir()
        limit.write_text(str(MORE))
    except OSError as error:
        if folder.is_dir():
            folder.rmdir()
        pytest.skip(f"no control group for memory can be made here ({error.strerror})")
    try:
        yield lambda process: (folder / "cgroup.procs").write_text(str(process))
    finally:
        deadline = time.monotonic() + 10
        while (folder / "cgroup.procs").read_text() and time.monotonic() < deadline:
            time.sleep(0.05)
        folder.rmdir()


@backends
@pytest.mark.parametrize("rank", [0, 1])
def test_the_kernels_own_killer(work: Work, group: Bound, backend: str, rank: int) -> None:
    """It leaves a process no time to say anything."""
    said = struck(work, backend, rank, group)
    assert said == f"resnet: rank {rank} was killed by SIGKILL (out of memory?); {LINE}"
