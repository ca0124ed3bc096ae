"""The median of a few measurements, with a confidence interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from statistics import median

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class MedianInterval:
    """`coverage` is the interval's actual coverage; below CONFIDENCE there were too few measurements."""

    median: float
    low: float
    high: float
    coverage: float

    @property
    def holds(self) -> bool:
        """Whether it covers what it says."""
        return self.coverage >= CONFIDENCE


def median_interval(values: Sequence[float]) -> MedianInterval:
    """The median with its binomial order-statistic interval, the narrowest that covers 95%.

    The true median is outside the k-th smallest and the k-th largest of n values only if fewer than k of them
    fall on one side of it, as with n coin flips. This needs no assumption about the distribution and no random
    resampling. At least six values are needed for 95%.
    """
    ordered, count = sorted(values), len(values)
    place = max((k for k in range(1, count // 2 + 1) if _coverage(count, k) >= CONFIDENCE), default=1)
    return MedianInterval(median(ordered), ordered[place - 1], ordered[-place], _coverage(count, place))


def _coverage(count: int, place: int) -> float:
    return 1 - 2 * sum(comb(count, below) for below in range(place)) / 2**count
