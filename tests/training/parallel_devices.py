"""JAX' processes as devices of one: the same compiled step without a network, and mistakes in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any

import jax
import jax.experimental.multihost_utils
import numpy as np
import pytest
from shared_steps import GROUPED, RECIPES, SPECS, Found, start, taken

from resnet_core.training.contract import StepInputs, StepResult, TrainingState
from resnet_core.training.parallel import shards
from resnet_core.training.parallel.jax_processes import JaxProcesses

EVERY_RECIPE = {**RECIPES, **GROUPED}
#: Processes where a mistake is planted: they have one or two of six images each.
PLANTED = 4


class Shards:
    """All shards of a batch, one after the other, as the rows of a trainer whose devices are all here."""

    def __init__(self, trainer: Any, processes: int, parts: int) -> None:
        self.trainer, self.processes, self.parts = trainer, processes, parts
        self.inputs = trainer.inputs

    def step(self, inputs: StepInputs) -> StepResult:
        every = [self._shard(inputs, rank) for rank in range(self.processes)]
        masks = [np.ones(len(one.images)) if one.mask is None else one.mask for one in every]
        return self.trainer.step(
            replace(
                every[0],
                images=np.concatenate([one.images for one in every]),
                targets=np.concatenate([one.targets for one in every]),
                factors={path: np.concatenate([one.factors[path] for one in every]) for path in inputs.factors},
                mask=np.concatenate(masks),
            )
        )

    def _shard(self, inputs: StepInputs, rank: int) -> StepInputs:
        return shards.shard(inputs, rank, self.processes, self.parts, equal=True)

    def predict(self, images: np.ndarray) -> np.ndarray:
        return self.trainer.predict(images)

    def state(self) -> TrainingState:
        return self.trainer.state()


def share(
    session: Any, arrays: Any, *, spec: str, recipe: str, count: int, processes: int, defect: str = ""
) -> tuple[Any, Found]:
    """What so many devices have after the steps, with a mistake or without."""
    network, plan = SPECS[spec], EVERY_RECIPE[recipe]
    with pytest.MonkeyPatch.context() as patch:
        if defect:
            own_defects = import_module(f"parallel_defects_{session.backend.__name__.removeprefix('resnet_')}")
            (DEFECTS | own_defects.DEFECTS)[defect](patch)
        group = JaxProcesses(jax, 0, jax.devices()[:processes])
        own = session.backend.ParallelTrainer(network, plan, start(network), dtype="float64", group=group)
        found = taken(Shards(own, processes, plan.accumulate), network, plan, count)
    return None, found


def _rows_twice(patch: pytest.MonkeyPatch) -> None:
    right = shards.rows
    patch.setattr(shards, "rows", lambda count, rank, n: right(count, max(rank, 1), n))


def _another_order(patch: pytest.MonkeyPatch) -> None:
    right = Shards._shard

    def shard(self: Shards, inputs: StepInputs, rank: int) -> StepInputs:
        if rank == 1:
            inputs = replace(inputs, images=inputs.images[::-1], targets=inputs.targets[::-1])
        return right(self, inputs, rank)

    patch.setattr(Shards, "_shard", shard)


#: {defect of the rows, whatever computes: how it is planted}.
DEFECTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "one rank's rows twice": _rows_twice,
    "another order of rows on one rank": _another_order,
}
