"""One of several that train one network: sums over the whole batch where the Trainer has them over its own.

NumPy brings no way to meet other processes, so the package has no `join`: the others are threads
(`resnet_core.training.parallel.threads`).
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import numpy as np

from resnet_core.specification import ResNetSpec
from resnet_core.training.contract import StepInputs, TrainingState
from resnet_core.training.parallel.group import Group, total
from resnet_core.training.recipe import Recipe
from resnet_core.training.running_variance import learned_together
from resnet_core.weights import Weights
from resnet_numpy.inference import to_native
from resnet_numpy.layers import Pullback
from resnet_numpy.lowering import Pass
from resnet_numpy.trainer import Trainer, cross_entropy, hits


class ParallelTrainer(Trainer):
    """The contract's, computed in float64; every sum is in the order of the ranks."""

    inputs: ClassVar[frozenset[str]] = Trainer.inputs | {"whole", "mask"}
    equal: ClassVar[bool] = False
    grouped: ClassVar[bool] = True

    def __init__(
        self, spec: ResNetSpec, recipe: Recipe, state: TrainingState, *, dtype: str | None = None, group: Group
    ) -> None:
        super().__init__(spec, recipe, state, dtype=dtype)
        self.total, self.group, self.groups = partial(total, group), group, recipe.groups
        self.decay = spec.norm_decay

    def _forward(self, part: StepInputs) -> tuple[np.ndarray, Pullback, Pass]:
        images = to_native(self.model, part.images)  # one image alone may be fine: there are others
        if self.groups > 1:
            found = self.model.differentiate(images, self.frozen, part.factors, rows=self.rows)
            self._learn_together(found[2])
            return found
        shared = {"whole": part.whole, "total": self.total, "mask": part.mask}
        return self.model.differentiate(images, self.frozen, part.factors, **shared)

    def _learn_together(self, context: Pass) -> None:
        """Running statistics that have learned from this process's groups learn from those of all."""
        given = self.decay, self.groups, self.group.rank, self.group.processes, self.total
        for name, value in context.statistics.items():
            context.statistics[name] = learned_together(context.weights[name], value, *given)

    def _score(self, logits: np.ndarray, part: StepInputs) -> tuple[float, int, np.ndarray]:
        """Its share of the whole batch's."""
        mask = np.ones(len(logits)) if part.mask is None else part.mask
        # A mean over its own rows, as one over the whole batch: the rest of that are other processes'.
        share = len(logits) / (part.whole or len(logits))
        loss, gradient = cross_entropy(logits, part.targets * mask[:, None])
        return share * loss, int(hits(logits, part.targets) @ mask), share * gradient * mask[:, None]

    def _reduced(self, loss: float, correct: int, gradients: Weights) -> tuple[float, int, Weights]:
        """The sums over all processes."""
        summed = {name: self.total(gradients[name]) for name in sorted(gradients)}
        return float(self.total(np.array(loss))), int(self.total(np.array(correct))), summed
