"""Which rows of a batch a process takes, and the inputs of its step."""

from __future__ import annotations

from dataclasses import dataclass, replace

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


@dataclass(frozen=True)
class Share:
    """One rank's part of every batch, which goes through the network in `parts`.

    Each part is divided by itself, so that the same images see each other in a norm as in one process. Where `equal`,
    all shards are as long as the longest, otherwise those without a row have one: it is filled up with the part's first
    row, which the mask leaves out.
    """

    rank: int
    processes: int
    parts: int = 1
    equal: bool = False

    def rows(self, count: int) -> np.ndarray:
        """The rows of a batch of `count`, with those that fill the shard up."""
        own, length = self._own(count // self.parts)
        filled = np.concatenate([own, np.zeros(length - len(own), own.dtype)])
        return np.concatenate([part * (count // self.parts) + filled for part in range(self.parts)])

    def mask(self, count: int) -> np.ndarray:
        """(rows,): 1 for each of `rows`, 0 for one that fills the shard up."""
        own, length = self._own(count // self.parts)
        return np.tile(np.arange(length) < len(own), self.parts).astype(np.float64)

    def inputs(self, inputs: StepInputs, count: int) -> StepInputs:
        """Those of this rank's step on a batch of `count`, whose images and targets are those of its rows already."""
        taken, mask = self.rows(count), self.mask(count)
        return replace(
            inputs,
            factors={path: given[taken] for path, given in inputs.factors.items()},
            whole=count,
            mask=None if mask.all() else mask,
        )

    def tested(self, count: int) -> np.ndarray:
        """The rows of a batch of `count` that this rank predicts."""
        return rows(count, self.rank, self.processes)

    def _own(self, count: int) -> tuple[np.ndarray, int]:
        """(its rows of a part of `count`, how many its shard has)."""
        own = rows(count, self.rank, self.processes)
        return own, max(longest(count, self.processes) if self.equal else len(own), 1)


def shard(inputs: StepInputs, rank: int, processes: int, parts: int = 1, *, equal: bool = False) -> StepInputs:
    """One rank's inputs of a step whose whole batch is in `inputs`: what its `Share` takes of them."""
    share, whole = Share(rank, processes, parts, equal), len(inputs.images)
    taken = share.rows(whole)
    return share.inputs(replace(inputs, images=inputs.images[taken], targets=inputs.targets[taken]), whole)


def require_whole_groups(recipe: Recipe, processes: int, backend: str, *, grouped: bool, of: str = "processes") -> None:
    """Raise RecipeError where the groups of a `statistics_batch` cannot be shared by so many processes, or devices.

    `of` is which of the two, `grouped` whether the backend's ParallelTrainer takes them.
    """
    if recipe.groups == 1:
        return
    received = f"statistics_batch: received {recipe.statistics_batch}"
    if not grouped:
        raise RecipeError(
            f"{received} for {processes} {of}, in which backend {backend} takes the statistics of all pictures; "
            f"use one of the {of}, another backend, or leave it out"
        )
    if recipe.groups % processes:
        raise RecipeError(
            f"{received}, which makes {recipe.groups} groups at a time, for {processes} {of}; expected a number "
            "of groups that they divide, since each takes whole ones: use another number of either"
        )
