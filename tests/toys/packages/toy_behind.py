"""A device that computes behind the process, in a thread, timed as the name says behind two underscores.

- `waits`: its result is waited for;
- `leaves`: it is not, so that only the telling is timed;
- `clocks`: between two marks that the device comes to in its turn;
- `misclocks`: between two marks that it does not wait with, as of another stream.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import resnet_numpy
from resnet_core.resident import Resident
from resnet_numpy import *  # noqa: F403

KIND = __name__.partition("__")[2]

#: Seconds that the device takes.
COMPUTING = 0.05

QUEUE = ThreadPoolExecutor(max_workers=1)


class Event:
    """`record` puts the mark into the queue, or sets it at once."""

    def record(self):
        self.time = QUEUE.submit(time.perf_counter) if KIND == "clocks" else _Now()

    def synchronize(self):
        self.time.result()

    def elapsed_time(self, end):
        return 1000 * (end.time.result() - self.time.result())


class _Now:
    def __init__(self):
        self.seconds = time.perf_counter()

    def result(self):
        return self.seconds


def computed(model, images):
    """What the device does."""
    time.sleep(COMPUTING)
    return resnet_numpy.predict(model, images)


@contextmanager
def resident(model, images):
    yield Resident(
        lambda: QUEUE.submit(computed, model, images),
        lambda output: output.result() if KIND == "waits" else None,
        lambda output: output.result(),
        Event if "clocks" in KIND else None,
    )
