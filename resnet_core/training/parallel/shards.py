"""Which rows of a batch a process takes, and the inputs of its step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from resnet_core.errors import RecipeError
from resnet_core.training.contract import StepInputs
from resnet_core.training.recipe import Recipe


def rows(count: int, rank: int, processes: int) -> np.ndarray:
    """The rows that a rank takes of a batch of `count`: neighbors, in order, as many as others have or one more.

    Every row is in one shard. With fewer rows than processes, some have none.
    """
    return np.arange(count * rank // processes, count * (rank + 1) // processes)


def longest(count: int, processes: int) -> int:
    """Rows of the longest shard of a batch of `count`."""
    return -(-count // processes)


def shard(inputs: StepInputs, rank: int, processes: int, parts: int = 1, *, equal: bool = False) -> StepInputs:
    """One rank's inputs of a step whose whole batch is in `inputs`, and goes through the network in `parts`.

    Each part is divided by itself, so that the same images see each other in a norm as in one process. Where `equal`,
    all shards are as long as the longest, otherwise those without a row have one: it is filled up with the part's first
    row, which the mask leaves out.
    """
    whole = len(inputs.images)
    count = whole // parts
    own = rows(count, rank, processes)
    length = max(longest(count, processes) if equal else len(own), 1)
    filled = np.concatenate([own, np.zeros(length - len(own), own.dtype)])
    taken = np.concatenate([part * count + filled for part in range(parts)])
    mask = np.tile(np.arange(length) < len(own), parts).astype(np.float64)
    return replace(
        inputs,
        images=inputs.images[taken],
        targets=inputs.targets[taken],
        factors={path: given[taken] for path, given in inputs.factors.items()},
        whole=whole,
        mask=None if mask.all() else mask,
    )


def require_whole_groups(recipe: Recipe, processes: int, backend: str, *, grouped: bool) -> None:
    """Raise RecipeError where the groups of a `statistics_batch` cannot be shared by so many processes.

    `grouped` says whether the backend's ParallelTrainer takes them.
    """
    if recipe.groups == 1:
        return
    received = f"statistics_batch: received {recipe.statistics_batch}"
    if not grouped:
        raise RecipeError(
            f"{received} for {processes} processes, in which backend {backend} takes the statistics of all pictures; "
            "use one process, another backend, or leave it out"
        )
    if recipe.groups % processes:
        raise RecipeError(
            f"{received}, which makes {recipe.groups} groups at a time, for {processes} processes; expected a number "
            "of groups that they divide, since each process takes whole ones: use another number of either"
        )
