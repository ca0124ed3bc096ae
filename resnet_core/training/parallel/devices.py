"""Several devices of one process: one trainer has all shards of a batch, one after the other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from resnet_core.errors import InputError
from resnet_core.training.contract import StepInputs, StepResult, Trainer, TrainingState
from resnet_core.training.parallel.place import Place
from resnet_core.training.parallel.shards import Share


class DevicesTrainer:
    """Gives a backend's ParallelTrainer, whose devices are all here, every row of a batch, in shards of equal length.

    `parts` is the recipe's `accumulate`. To the run loop it is a Trainer like another.
    """

    inputs: frozenset[str]

    def __init__(self, trainer: Trainer, devices: int, parts: int) -> None:
        self.trainer, self.inputs = trainer, trainer.inputs
        self.shares = [Share(rank, devices, parts, equal=True) for rank in range(devices)]

    def step(self, inputs: StepInputs) -> StepResult:
        count = len(inputs.images)
        taken = np.concatenate([share.rows(count) for share in self.shares])
        if np.array_equal(taken, np.arange(count)):  # nothing to be copied
            return self.trainer.step(replace(inputs, whole=count))
        mask = np.concatenate([share.mask(count) for share in self.shares])
        return self.trainer.step(
            replace(
                inputs,
                images=inputs.images[taken],
                targets=inputs.targets[taken],
                factors={path: given[taken] for path, given in inputs.factors.items()},
                whole=count,
                mask=None if mask.all() else mask,
            )
        )

    def predict(self, images: np.ndarray) -> np.ndarray:
        return self.trainer.predict(images)

    def state(self) -> TrainingState:
        return self.trainer.state()


def require_one_way(place: Place | None, devices: int) -> None:
    """Raise InputError for several devices in each of several processes, and for none."""
    if devices < 1:
        raise InputError(f"devices: received {devices}; expected an integer from 1")
    if devices > 1 and place is not None:
        raise InputError(
            f"devices: received {devices} for each of {place.processes} processes; expected several devices of one "
            "process, or several processes with a device each: leave one out"
        )


def require_devices(trainer: Any, devices: int, backend: str) -> None:
    """Raise InputError for a backend's ParallelTrainer that has one device in each process."""
    if not getattr(trainer, "devices", False):
        raise InputError(
            f"devices: received {devices}; backend {backend} has one in each process: start {devices} of those "
            f"instead (--processes {devices}), which compute the same"
        )
