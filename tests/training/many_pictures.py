"""Starts with a data set as a run does, and prints what it took: python many_pictures.py FOLDER.

In a process of its own, so that what is measured is memory and time of this alone.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from itertools import pairwise
from pathlib import Path

import resnet_core as rn
from resnet_core.data.named import dataset
from resnet_core.data.up_front import require_pictures
from resnet_core.training.parallel.shards import Share
from resnet_core.training.pipeline import Pipeline
from resnet_core.training.recipe import Recipe

STEPS = 60


def anonymous() -> int:
    """Bytes of this process's memory that are no file's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024


def main() -> None:
    """Rank 1 of 2, on batches of 64."""
    clock, cpu = [time.perf_counter()], [time.process_time()]

    def tick() -> None:
        clock.append(time.perf_counter())
        cpu.append(time.process_time())

    data = dataset(sys.argv[1], validation=None)
    tick()
    looked: list[str] = []
    require_pictures(data, looked.append)
    tick()
    fingerprint = data.fingerprint
    tick()
    plan = Recipe(learning_rate=0.1, epochs=1, batch_size=64, resize=(8, 8), flip=True)
    pipeline = Pipeline(data, plan, rn.spec("resnet20", classes=len(data.classes)), workers=2)
    memory = []
    for step, _ in pipeline.batches(0, STEPS, Share(1, 2).rows):
        if step == 0:
            tick()
        memory.append(anonymous())
    found = {
        "pictures": len(data.train) + len(data.test),
        "looked": looked,
        "fingerprint": fingerprint,
        "seconds": [round(after - before, 2) for before, after in pairwise(clock)],
        "cpu": [round(after - before, 2) for before, after in pairwise(cpu)],
        "anonymous": memory[-1],
        "grown": memory[-1] - memory[STEPS // 3],
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
