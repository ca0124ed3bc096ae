"""Work that is done ahead of its use: a few items at a time, each in pieces, by several threads.

Threads are enough: Pillow decodes and resizes without Python's lock, and NumPy computes without it. Nothing has to be
sent between processes, and nothing is left behind when the one process ends.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import nullcontext, suppress
from typing import Any, Protocol, TypeVar

#: Items that are ready, or in work, while another one is in use: with two, no worker waits for the last piece of one.
AHEAD = 2

Item = TypeVar("Item")
Made = TypeVar("Made")
S = TypeVar("S")
T = TypeVar("T")


class Each(Protocol):
    """`map`, in order or by several workers."""

    def __call__(self, work: Callable[[S], T], pieces: Iterable[S], /) -> Iterable[T]: ...


class Threads:
    """The workers, and those that give them the pieces of an item; as a context, after which they have ended.

    All are started at once, and so before what they work on takes the memory: a thread that cannot be set up for want
    of it dies without a word, and `Thread.start` waits for it for ever (CPython 3.11).
    """

    def __init__(self, workers: int, items: int = 2 * AHEAD) -> None:
        self.makers, self.pool = ThreadPoolExecutor(items, "ahead"), ThreadPoolExecutor(workers, "worker")
        for pool, count in ((self.makers, items), (self.pool, workers)):
            all_here = threading.Barrier(count + 1)
            for _ in range(count):
                pool.submit(all_here.wait)
            all_here.wait()

    def __enter__(self) -> Threads:
        return self

    def __exit__(self, *error: object) -> None:
        self.pool.shutdown(wait=False, cancel_futures=True)
        self.makers.shutdown(wait=True, cancel_futures=True)
        self.pool.shutdown(wait=True)


def ahead(
    make: Callable[[Item, Each], Made], items: Iterable[Item], workers: int | Threads, most: int = AHEAD
) -> Iterator[Made]:
    """`make(item, each)` of every item, in order, `most` of them while an earlier one is in use.

    `make` gives its pieces to `each`, and so to one of the `workers`, so many or these. An error is raised where the
    item's turn is. When the generator is closed, what has not begun is left undone.
    """
    waiting: deque[Future[Made]] = deque()
    closed = threading.Event()
    own = Threads(workers, most) if isinstance(workers, int) else nullcontext(workers)
    with own as threads:

        def make_in_pieces(item: Item) -> Made:
            begun: list[Future[Any]] = []

            def each(work: Callable[[S], T], pieces: Iterable[S]) -> Iterable[T]:
                def piece(given: S) -> T:
                    if closed.is_set():
                        raise CancelledError
                    return work(given)

                futures = [threads.pool.submit(piece, given) for given in pieces]
                begun.extend(futures)
                return _results(futures)

            try:
                return make(item, each)
            except BaseException:
                _undo(begun)
                raise
            finally:
                _end(begun)

        try:
            following = iter(items)
            for item in following:
                waiting.append(threads.makers.submit(make_in_pieces, item))
                if len(waiting) == most:
                    break
            while waiting:
                made = waiting.popleft().result()
                for item in following:
                    waiting.append(threads.makers.submit(make_in_pieces, item))
                    break
                yield made
                del made
        finally:
            closed.set()
            _undo(waiting)
            _end(waiting)


def _results(futures: list[Future[T]]) -> Iterator[T]:
    """Each, which is then kept nowhere here."""
    futures.reverse()
    while futures:
        yield futures.pop().result()


def _undo(futures: Iterable[Future[Any]]) -> None:
    """What has not begun is not begun."""
    for future in futures:
        future.cancel()


def _end(futures: Iterable[Future[Any]]) -> None:
    """Wait for all; `wait` of the library would wait for ever for one that its pool has cancelled."""
    for future in futures:
        with suppress(CancelledError):
            future.exception()
