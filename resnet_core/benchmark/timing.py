"""Seconds of one call, and several contestants in turn."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

Answer = TypeVar("Answer")


def seconds(call: Callable[[], object]) -> float:
    """Duration of one call, which must end when its result is there."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def in_turn(contestants: Sequence[Callable[[], Answer]], rounds: int) -> list[list[Answer]]:
    """What each contestant answers in each round, in the order A B C, C B A, A B C …

    Slow drifts, such as in the processor's clock or from another process, then affect all of them equally.
    """
    answers: list[list[Answer]] = [[] for _ in contestants]
    for turn in range(rounds):
        gc.collect()  # garbage of one must not be collected while another is timed
        order = range(len(contestants))
        for which in order if turn % 2 == 0 else reversed(order):
            answers[which].append(contestants[which]())
    return answers
