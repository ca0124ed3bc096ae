"""The part of `processes.py` that runs in a process of a framework: one that is alone, or one of a group."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import resnet_core as rn
from resnet_core.backend import optional
from resnet_core.training.checkpoint import Checkpoint, save_checkpoint
from resnet_core.training.contract import StepInputs, TrainingState
from resnet_core.training.parallel.gloo import joined
from resnet_core.training.parallel.group import Group
from resnet_core.training.parallel.place import Place
from resnet_core.training.parallel.trainer import ShardingTrainer
from resnet_core.training.recipe_files import recipe
from resnet_core.training.schedule import step_numbers

#: Messages of each size, and bytes of the larger one.
REPEATS, LARGE = 30, 4 * 2**20

_kept: dict[str, Any] = {}


def start(
    session: object, arrays: object, *, framework: str, spec: str, batch: int, size: int, steps: int, cores: list[int],
    rank: int | None, processes: int, port: int,
) -> tuple[dict[str, str], None]:  # fmt: skip
    """A trainer on a ready batch, on these cores: of the whole batch for a process that trains alone (`rank` is None),
    else one of a group. A group of one has one of two processes' rows, and nobody to wait for.
    """
    os.sched_setaffinity(0, cores)
    backend = rn.load_backend(framework)
    used = backend.configure(device="cpu")
    network = rn.spec(spec, in_channels=1, classes=10, input_size=size)
    batch = batch // 2 if processes == 1 and rank is not None else batch
    plan = recipe("fashion-resnet20", steps=10**6, warmup=0, batch_size=batch)
    begin = TrainingState(rn.initialize(network, 0))
    random = np.random.default_rng(0)
    images = random.standard_normal((batch, size, size, 1)).astype(np.float32)
    targets = np.eye(10)[random.integers(0, 10, batch)]
    trainer: Any
    if rank is None:
        trainer = optional(backend, "Trainer")(network, plan, begin)
    else:
        group = joined(backend, Place(rank, processes, rank, port=port), used)
        kind = optional(backend, "ParallelTrainer")
        trainer = ShardingTrainer(kind(network, plan, begin, group=group), group, 1, equal=kind.equal)
        _kept["group"] = group
    inputs = StepInputs(images, targets, step_numbers(plan, 469, 1000))
    _kept.update(trainer=trainer, inputs=inputs, steps=steps, spec=network, plan=plan)
    return backend.versions(), None


def segment(session: object, arrays: object) -> tuple[list[float], None]:
    """Seconds of each step of a segment. The processes of a group begin it together."""
    group, found = _kept.get("group"), []
    if group is not None:
        group.gather(np.zeros(1, np.uint8))
    for _ in range(_kept["steps"]):
        begin = time.perf_counter()
        _kept["trainer"].step(_kept["inputs"])
        if group is not None:  # as the run loop asks after each step
            group.gather(np.zeros(1, np.uint8))
        found.append(time.perf_counter() - begin)
    return found, None


def messages(session: object, arrays: object) -> tuple[dict[str, float], None]:
    """Seconds of a small message, and bytes a second of a large one, as one process sends them."""
    small, large = (_seconds(_kept["group"], size) for size in (256, LARGE))
    return {"latency": small, "bandwidth": LARGE / max(large - small, 1e-9)}, None


def _seconds(group: Group, size: int) -> float:
    sent, found = np.zeros(size, np.uint8), []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        group.gather(sent)
        found.append(time.perf_counter() - begin)
    return median(found)


def checkpoints(session: object, arrays: object) -> tuple[list[float], None]:
    """Seconds of three checkpoints."""
    found = []
    with tempfile.TemporaryDirectory() as place:
        for number in range(3):
            begin = time.perf_counter()
            saved = Checkpoint(_kept["spec"], _kept["plan"], _kept["trainer"].state(), {}, None)
            save_checkpoint(Path(place) / f"{number}.safetensors", saved)
            found.append(time.perf_counter() - begin)
    return found, None
