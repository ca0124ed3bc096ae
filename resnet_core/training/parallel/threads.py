"""Several ranks in one process, as threads: the contract's oracle, which needs no network."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import numpy as np

T = TypeVar("T")


class ThreadGroup:
    """One thread's `Group`."""

    def __init__(self, rank: int, barrier: threading.Barrier, given: list[np.ndarray | None]) -> None:
        self.rank, self.processes = rank, barrier.parties
        self._barrier, self._given = barrier, given

    def gather(self, array: np.ndarray) -> list[np.ndarray]:
        self._given[self.rank] = array
        self._barrier.wait()
        found = [np.array(each) for each in self._given]
        self._barrier.wait()  # nobody gives the next before all have taken these
        return found

    def broadcast(self, array: np.ndarray) -> np.ndarray:
        return self.gather(array)[0]

    def leave(self) -> None:
        pass


def together(processes: int, work: Callable[[ThreadGroup], T]) -> list[T]:
    """What `work` returns in so many threads, by rank. Raises what one of them raised, and the others then end."""
    barrier = threading.Barrier(processes)
    given: list[np.ndarray | None] = [None] * processes

    def run(rank: int) -> T:
        try:
            return work(ThreadGroup(rank, barrier, given))
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(processes) as pool:
        futures = [pool.submit(run, rank) for rank in range(processes)]
    for future in futures:
        with suppress(threading.BrokenBarrierError):  # another's error is the reason
            future.result()
    return [future.result() for future in futures]
