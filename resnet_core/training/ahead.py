"""Work that is done ahead of its use: a few items at a time, each in pieces, by several threads.

Threads are enough: Pillow decodes and resizes without Python's lock, and NumPy computes without it. Nothing has to be
sent between processes, and nothing is left behind when the one process ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

#: Items that are ready, or in work, while another one is in use: with two, no worker waits for the last piece of one.
AHEAD = 2

Item = TypeVar("Item")
Made = TypeVar("Made")
S = TypeVar("S")
T = TypeVar("T")


class Each(Protocol):
    """`map`, in order or by several workers."""

    def __call__(self, work: Callable[[S], T], pieces: Iterable[S], /) -> Iterable[T]: ...


def ahead(make: Callable[[Item, Each], Made], items: Iterable[Item], workers: int, most: int = AHEAD) -> Iterator[Made]:
    """`make(item, each)` of every item, in order, `most` of them while an earlier one is in use.

    `make` gives its pieces to `each`, and so to one of the `workers`. An error is raised where the item's turn is. When
    the generator is closed, what has not begun is left undone.
    """
    waiting: deque[Future[Made]] = deque()
    makers, pool = ThreadPoolExecutor(most, "ahead"), ThreadPoolExecutor(workers, "worker")
    try:
        following = iter(items)
        for item in following:
            waiting.append(makers.submit(make, item, pool.map))
            if len(waiting) == most:
                break
        while waiting:
            made = waiting.popleft().result()
            for item in following:
                waiting.append(makers.submit(make, item, pool.map))
                break
            yield made
            del made
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        makers.shutdown(wait=True, cancel_futures=True)
        pool.shutdown(wait=True)
