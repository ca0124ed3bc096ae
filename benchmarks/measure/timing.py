"""Seconds of one call, and of two calls in alternating order."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

Call = Callable[[], object]


def seconds(call: Call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def alternate(first: Call, second: Call, pairs: int) -> tuple[list[float], list[float]]:
    """Seconds of both, one pair after the other, in the order A B B A A B …

    What drifts slowly, such as the processor's clock or another process, then meets both alike.
    """
    calls, times = (first, second), ([], [])
    for pair in range(pairs):
        gc.collect()  # what one call leaves behind must not be swept up in the other's time
        for which in (0, 1) if pair % 2 == 0 else (1, 0):
            times[which].append(seconds(calls[which]))
    return times
