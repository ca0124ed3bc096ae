"""JAX' processes as devices of one: the same compiled step without a network, and mistakes in it."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import jax
import jax.experimental.multihost_utils
import numpy as np
import pytest
from shared_steps import GROUPED, RECIPES, SPECS, Found, start, taken

from resnet_core.training.parallel import shards
from resnet_core.training.parallel.devices import DevicesTrainer
from resnet_core.training.parallel.jax_processes import JaxProcesses

EVERY_RECIPE = {**RECIPES, **GROUPED}
#: Processes where a mistake is planted: they have one or two of six images each.
PLANTED = 4


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
        found = taken(DevicesTrainer(own, processes, plan.accumulate), network, plan, count)
    return None, found


def _rows_twice(patch: pytest.MonkeyPatch) -> None:
    right = shards.rows
    patch.setattr(shards, "rows", lambda count, rank, n: right(count, max(rank, 1), n))


def _another_order(patch: pytest.MonkeyPatch) -> None:
    """Of the whole batch, of which it then takes rows that another takes too."""
    right = shards.Share.rows

    def rows(self: shards.Share, count: int) -> np.ndarray:
        taken = right(self, count)
        return count - 1 - taken if self.rank == 1 else taken

    patch.setattr(shards.Share, "rows", rows)


#: {defect of the rows, whatever computes: how it is planted}.
DEFECTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "one rank's rows twice": _rows_twice,
    "another order of rows on one rank": _another_order,
}
