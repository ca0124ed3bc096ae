"""An exponential moving average of a run's weights, which is evaluated and kept in their place.

It belongs to the core: it reads the state that every trainer gives, so it is the same in every framework.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from resnet_core.backend import Backend
from resnet_core.specification import ResNetSpec
from resnet_core.training.contract import StepInputs, StepResult, Trainer, TrainingState
from resnet_core.training.parameters import trained_tree
from resnet_core.training.recipe import Recipe
from resnet_core.weights import Weights, cast


def averaged(average: Weights, weights: Weights, decay: float, updates: int) -> Weights:
    """The average after one more update, of which there have been `updates`, in float64.

    a = d a + (1 - d) w with d = min(decay, (1 + updates) / (10 + updates)): the first weights do not linger in a short
    run (TensorFlow's ExponentialMovingAverage with num_updates). Every tensor takes part, running statistics too.
    """
    share = min(decay, (1 + updates) / (10 + updates))
    return {name: share * average[name] + (1 - share) * weights[name].astype(np.float64) for name in average}


class AveragingTrainer:
    """A backend's trainer, and the average of its weights, with which it predicts.

    The average begins with the weights that `state` begins with, and is in `state().average`, in float64.
    """

    inputs: frozenset[str]

    def __init__(
        self, trainer: Trainer, backend: Backend, spec: ResNetSpec, recipe: Recipe, state: TrainingState
    ) -> None:
        assert recipe.average is not None
        self.trainer, self.backend, self.channels, self.decay = trainer, backend, spec.in_channels, recipe.average
        self.every, self.steps = recipe.average_every, state.step
        self.dtype = next(iter(state.weights.values())).dtype.name
        self.tree = trained_tree(spec, recipe, self.dtype)  # it computes as the trainer does
        self.inputs = trainer.inputs
        self.average = cast(state.average or state.weights, "float64")
        self.model: Any = None  # built when it is first asked, and given the average when that is another
        self.held: Weights | None = None

    def step(self, inputs: StepInputs) -> StepResult:
        """A step of the trainer; after every so many, the average learns its weights."""
        result = self.trainer.step(inputs)
        self.steps += 1
        if self.steps % self.every == 0:
            updates = self.steps // self.every - 1
            self.average = averaged(self.average, self.trainer.state().weights, self.decay, updates)
        return result

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Logits of the network with the averaged weights."""
        if self.held is not self.average:
            weights, self.held = cast(self.average, self.dtype), self.average
            if self.model is None:
                self.model = self.backend.build_tree(
                    self.tree, channels=self.channels, weights=weights, dtype=self.dtype
                )
            else:  # what a framework has compiled for it stays
                self.backend.set_weights(self.model, weights)
        return np.asarray(self.backend.predict(self.model, images))

    def state(self) -> TrainingState:
        """The trainer's, and the average."""
        return replace(self.trainer.state(), average={name: array.copy() for name, array in self.average.items()})
