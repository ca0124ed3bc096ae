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
    """Seconds of both calls, in pairs, in the order A B B A A B …

    Slow drifts, such as in the processor's clock or from another process, then affect both equally.
    """
    calls = (first, second)
    times: tuple[list[float], list[float]] = ([], [])
    for pair in range(pairs):
        gc.collect()  # garbage from one call must not be collected during the other
        for which in (0, 1) if pair % 2 == 0 else (1, 0):
            times[which].append(seconds(calls[which]))
    return times
