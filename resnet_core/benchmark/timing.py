"""Seconds of one call, of a device's part of it, and several contestants in turn."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, TypeVar

import numpy as np

from resnet_core.resident import Resident

Answer = TypeVar("Answer")

#: By how much later than it was said to be computed an output may be here: a part of that time, and at least so many
#: seconds, in which an output of some numbers is copied many times over. It is copied from the device, and no more;
#: where it has many numbers, as a network without classes gives them, so many bytes in a second: a busy machine that
#: puts channels last copies no slower.
LATER, LATER_SECONDS, COPIED = 0.25, 5e-4, 2**28


def seconds(call: Callable[[], object]) -> float:
    """Duration of one call, which must end when its result is there."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@dataclass(frozen=True)
class DeviceTime:
    """Seconds from the beginning of a call until its output is said to be computed, and until it is here.

    `size` is its bytes.
    """

    computed: float
    here: float
    size: int = 0


def device_seconds(resident: Resident) -> tuple[DeviceTime, Any]:
    """(the time of one call, its output), where the images are on the device.

    By the device's own clock between two marks, if it has one, or else by the process' until the result has been waited
    for. A call that returns before that has only told the device what to do.
    """
    events = None if resident.event is None else (resident.event(), resident.event())
    start = time.perf_counter()
    if events is None:
        output = resident.compute()
        resident.wait(output)
        computed = time.perf_counter() - start
    else:
        first, last = events
        first.record()
        output = resident.compute()
        last.record()
        last.synchronize()
        computed = first.elapsed_time(last) / 1000
    found = resident.fetch(output)
    here = time.perf_counter() - start
    arrays = found.values() if isinstance(found, Mapping) else [found]
    return DeviceTime(computed, here, sum(np.asarray(array).nbytes for array in arrays)), found


def not_waited(calls: Sequence[DeviceTime]) -> str | None:
    """In words, that these outputs were not computed yet when they were said to be; None where they were.

    Half a millisecond is in doubt, and more for a large output: what computes in less cannot be told from a copy.
    """
    computed = median(call.computed for call in calls)
    later = median(call.here - call.computed for call in calls)
    if later <= max(LATER * computed, LATER_SECONDS) + max(call.size for call in calls) / COPIED:
        return None
    return (
        f"a call takes {computed * 1000:.3g} ms, and its output is here {later * 1000:.3g} ms after that: "
        "it was not waited for"
    )


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
