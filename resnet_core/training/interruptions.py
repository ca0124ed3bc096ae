"""Ctrl-C and SIGTERM during training: the current step is finished and saved before the run ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def deferred_interruptions() -> Iterator[Callable[[], bool]]:
    """Inside, Ctrl-C and SIGTERM are only noted; the yielded function says whether one has arrived.

    A second Ctrl-C interrupts at once. Python delivers signals to the main thread only: in any other thread this
    does nothing.
    """
    noted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield noted.is_set
        return

    def note(number: int, frame: object) -> None:
        if noted.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        noted.set()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield noted.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
