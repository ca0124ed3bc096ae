"""Training steps in NumPy: forward, loss, backward and update, all written out."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from resnet_core.numerics import log_softmax
from resnet_core.specification import ResNetSpec
from resnet_core.training.contract import StepInputs, StepResult, TrainingState
from resnet_core.training.parameters import frozen_layers, treatments
from resnet_core.training.recipe import Recipe
from resnet_core.weights import Weights, require_training_dtype
from resnet_numpy.inference import predict, to_native
from resnet_numpy.model import build
from resnet_numpy.optimizer import Optimizer
from resnet_numpy.weights import get_weights


class Trainer:
    """The contract's trainer, computed in float64; weights and slots are stored in `dtype`."""

    inputs: ClassVar[frozenset[str]] = frozenset({"images", "targets", "numbers", "factors"})

    def __init__(self, spec: ResNetSpec, recipe: Recipe, state: TrainingState, *, dtype: str | None = None) -> None:
        dtype = require_training_dtype(dtype or "float32")
        self.model = build(spec, weights=state.weights, dtype=dtype)
        self.frozen = frozen_layers(spec, recipe)
        self.parts = recipe.accumulate
        self.optimizer = Optimizer(recipe, state, treatments(spec, recipe))
        self.steps = state.step

    def step(self, inputs: StepInputs) -> StepResult:
        losses, correct, gradients = 0.0, 0, Weights()
        for part in inputs.parts(self.parts):
            images = to_native(self.model, part.images, training=True)
            logits, pullback, context = self.model.differentiate(images, self.frozen, part.factors)
            loss, gradient = cross_entropy(logits, part.targets)
            pullback(gradient / self.parts)
            gradients = {name: gradients.get(name, 0.0) + value for name, value in context.gradients.items()}
            losses += loss / self.parts
            correct += int((logits.argmax(-1) == part.targets.argmax(-1)).sum())
            self.model.learn(context.statistics)
        self.model.learn(self.optimizer.update(context.weights, gradients, inputs.numbers))
        self.steps += 1
        return StepResult(losses, correct)

    def predict(self, images: np.ndarray) -> np.ndarray:
        return np.asarray(predict(self.model, images))

    def state(self) -> TrainingState:
        return TrainingState(get_weights(self.model), self.optimizer.get_slots(), self.steps)


def cross_entropy(logits: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
    """(mean loss, its gradient) of logits and target distributions, both (batch, classes)."""
    log_probabilities = log_softmax(logits)
    loss = float(-(targets * log_probabilities).sum() / len(logits))
    return loss, (np.exp(log_probabilities) - targets) / len(logits)
