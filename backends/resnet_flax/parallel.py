"""One of several that train one network: `jax.distributed`, and the same compiled step over a mesh of their devices.

Particular to JAX: a batch whose rows are on several devices is still one batch to a compiled function, so that sums and
statistics are over all of it, and XLA finds where processes have to add up. All shards have the same number of rows:
which of them only fill up goes along, to the norms and the loss.
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.experimental.multihost_utils
import jax.extend.backend
import numpy as np
import optax
from jax import Array

from resnet_core.inputs import check_images
from resnet_core.specification import ResNetSpec
from resnet_core.training.contract import StepInputs, TrainingState
from resnet_core.training.parallel.jax_processes import JaxProcesses, joined
from resnet_core.training.parallel.place import Place
from resnet_core.training.recipe import Recipe
from resnet_flax.normalization import COUNTED
from resnet_flax.optimizer import Arrays
from resnet_flax.runtime import precision
from resnet_flax.trainer import Batch, Trainer, hits


def join(place: Place, device: str) -> JaxProcesses:
    """By `jax.distributed`."""
    return joined(jax, place, device)


class ParallelTrainer(Trainer):
    """The contract's; its arrays are over all processes, the rows of a batch apart and everything else alike."""

    inputs: ClassVar[frozenset[str]] = Trainer.inputs | {"whole", "mask"}
    equal: ClassVar[bool] = True
    grouped: ClassVar[bool] = True
    devices: ClassVar[bool] = True

    def __init__(
        self, spec: ResNetSpec, recipe: Recipe, state: TrainingState, *, dtype: str | None = None, group: Any
    ) -> None:
        super().__init__(spec, recipe, state, dtype=dtype)
        self.group = group
        with precision(self.dtype):
            self.parameters, self.statistics, self.optimizer.memory = jax.tree.map(
                group.shared, (self.parameters, self.statistics, self.optimizer.memory)
            )

    def _values(self) -> Arrays:
        """Those of this process: others take no part where it predicts."""
        return {name: array.addressable_data(0) for name, array in super()._values().items()}

    def _batch(self, inputs: StepInputs) -> Batch:
        # One image alone may be fine: there are others. They are not put on any device yet, but on that of their row.
        images = check_images(inputs.images, self.model.channels, self.model.tree, dtype=self.dtype)
        mask = np.ones(len(images)) if inputs.mask is None else inputs.mask
        given = {"images": images, "targets": inputs.targets, "mask": mask, **inputs.factors}
        rows = {name: self.group.rows(np.asarray(array, self.dtype)) for name, array in given.items()}
        factors = {path: rows[path] for path in inputs.factors}
        filled = len(rows["images"]) != inputs.whole  # in this process or in another
        return rows["images"], rows["targets"], factors, rows["mask"] if filled else None

    def _cut(self, batch: Batch) -> Batch:
        """The parts along a first axis; each process has its rows of every part."""

        def cut(rows: Array) -> Array:
            shards = rows.reshape(self.group.processes, self.parts, -1, *rows.shape[1:])
            return shards.swapaxes(0, 1).reshape(self.parts, -1, *rows.shape[1:])

        return jax.tree.map(cut, batch)  # type: ignore[no-any-return]

    def _gradients(
        self, parameters: Arrays, trained: Arrays, statistics: Arrays, batch: Batch, count: int
    ) -> tuple[Arrays, Arrays, Array, Array]:
        """The sums over all processes, alike everywhere."""
        token = COUNTED.set(batch[-1])
        try:
            found = super()._gradients(parameters, trained, statistics, batch, count)
        finally:
            COUNTED.reset(token)
        return jax.lax.with_sharding_constraint(found, self.group.everywhere)  # type: ignore[no-any-return]

    def _score(self, logits: Array, batch: Batch, count: int) -> tuple[Array, Array]:
        """Of the whole batch, without what fills it up."""
        _, targets, _, mask = batch
        if mask is None:
            return super()._score(logits, batch, count)
        losses = optax.softmax_cross_entropy(logits, targets)
        return losses @ mask / count, (hits(logits, targets) * (mask > 0)).sum()
