"""The part of `processes.py` that runs in a process of a framework: one that is alone, or one of two."""

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
from resnet_core.training.parallel.group import Group
from resnet_core.training.parallel.place import Place
from resnet_core.training.parallel.shards import rows
from resnet_core.training.parallel.trainer import ShardingTrainer
from resnet_core.training.recipe_files import recipe
from resnet_core.training.schedule import step_numbers

#: Messages of each size, and bytes of the larger one.
REPEATS, LARGE = 30, 4 * 2**20

_kept: dict[str, Any] = {}


def start(
    session: object, arrays: object, *, framework: str, spec: str, batch: int, size: int, steps: int, cores: list[int],
    rank: int | None, port: int,
) -> tuple[dict[str, str], None]:  # fmt: skip
    """Trainers on a ready batch, on these cores: of the whole batch for a process that is alone (`rank` is None); else
    of its rows, with the other process ("two") and without ("apart").
    """
    os.sched_setaffinity(0, cores)
    backend = rn.load_backend(framework)
    used = backend.configure(device="cpu")
    network = rn.spec(spec, in_channels=1, classes=10, input_size=size)
    plan = recipe("fashion-resnet20", steps=10**6, warmup=0, batch_size=batch)
    begin = TrainingState(rn.initialize(network, 0))
    random = np.random.default_rng(0)
    images = random.standard_normal((batch, size, size, 1)).astype(np.float32)
    targets = np.eye(10)[random.integers(0, 10, batch)]
    inputs = StepInputs(images, targets, step_numbers(plan, 469, 1000))
    alone = optional(backend, "Trainer")
    if rank is None:
        trainers = {"one": (alone(network, plan, begin), inputs)}
    else:
        group = optional(backend, "join")(Place(rank, 2, rank, port=port), used)
        kind = optional(backend, "ParallelTrainer")
        together = ShardingTrainer(kind(network, plan, begin, group=group), group, 1, equal=kind.equal)
        own = rows(batch, rank, 2)
        part = StepInputs(images[own], targets[own], inputs.numbers)
        trainers = {"two": (together, inputs), "apart": (alone(network, plan, begin), part)}
        _kept["group"] = group
    _kept.update(trainers=trainers, steps=steps, spec=network, plan=plan)
    return backend.versions(), None


def segment(session: object, arrays: object, *, kind: str) -> tuple[float, None]:
    """Seconds of a segment of steps. Two begin it together."""
    trainer, inputs = _kept["trainers"][kind]
    if "group" in _kept:
        _kept["group"].gather(np.zeros(1, np.uint8))
    begin = time.perf_counter()
    for _ in range(_kept["steps"]):
        trainer.step(inputs)
        if kind == "two":  # as the run loop asks after each step
            _kept["group"].gather(np.zeros(1, np.uint8))
    return time.perf_counter() - begin, None


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
            trainer, _ = _kept["trainers"]["one"]
            saved = Checkpoint(_kept["spec"], _kept["plan"], trainer.state(), {}, None)
            save_checkpoint(Path(place) / f"{number}.safetensors", saved)
            found.append(time.perf_counter() - begin)
    return found, None
