"""Images that lie on a model's device: what a backend offers so that the device can be timed by itself.

A device computes behind the process that asks it to: a call returns before there is a result. The loop is the core's
(`benchmark/timing.py`); a backend says how to begin, how to wait and how to fetch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol


class Event(Protocol):
    """A mark among what a device was told to do, as `torch.cuda.Event` is one."""

    def record(self) -> object:
        """Set the mark behind everything that the device has been told so far."""

    def synchronize(self) -> object:
        """Return when the device has come to the mark."""

    def elapsed_time(self, end: Any) -> float:
        """Milliseconds of the device's own clock from this mark to another."""


@dataclass(frozen=True)
class Resident:
    """A model and the images that its device has.

    - `compute`: begin the prediction; returns the device's output, which need not be computed yet.
    - `wait`: return when that output has been computed.
    - `fetch`: that output as `predict` returns it; the next `compute` may overwrite what was not fetched.
    - `event`: a new one, where the device has a clock of its own.
    """

    compute: Callable[[], Any]
    wait: Callable[[Any], object]
    fetch: Callable[[Any], Any]
    event: Callable[[], Event] | None = None
