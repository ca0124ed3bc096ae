"""Seconds of two calls in alternating order."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from resnet_core.benchmark.timing import in_turn, seconds

Call = Callable[[], object]


def alternate(first: Call, second: Call, pairs: int) -> tuple[list[float], list[float]]:
    """Seconds of both calls, in pairs, in the order A B B A A B …"""
    one, other = in_turn([partial(seconds, first), partial(seconds, second)], pairs)
    return one, other
