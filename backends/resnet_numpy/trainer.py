"""Training steps in NumPy: forward, loss, backward and update, all written out."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from resnet_core.numerics import log_softmax
from resnet_core.specification import ResNetSpec
from resnet_core.training.contract import StepInputs, StepResult, TrainingState
from resnet_core.training.parameters import frozen_layers, trained_tree, treatments
from resnet_core.training.recipe import Recipe
from resnet_core.weights import Weights, require_training_dtype
from resnet_numpy.inference import predict, to_native
from resnet_numpy.layers import Pullback
from resnet_numpy.lowering import Pass
from resnet_numpy.model import build_tree
from resnet_numpy.optimizer import Optimizer
from resnet_numpy.weights import get_weights


class Trainer:
    """The contract's trainer, computed in float64; weights and slots are stored in `dtype`."""

    inputs: ClassVar[frozenset[str]] = frozenset({"images", "targets", "numbers", "factors"})

    def __init__(self, spec: ResNetSpec, recipe: Recipe, state: TrainingState, *, dtype: str | None = None) -> None:
        dtype = require_training_dtype(dtype or "float32")
        network = trained_tree(spec, recipe, dtype)
        self.model = build_tree(network, channels=spec.in_channels, weights=state.weights, dtype=dtype)
        self.frozen = frozen_layers(spec, recipe)
        self.parts, self.rows = recipe.accumulate, recipe.statistics_batch
        self.optimizer = Optimizer(recipe, state, treatments(spec, recipe))
        self.steps = state.step

    def step(self, inputs: StepInputs) -> StepResult:
        losses, correct, gradients = 0.0, 0, Weights()
        for part in inputs.parts(self.parts):
            logits, pullback, context = self._forward(part)
            loss, right, gradient = self._score(logits, part)
            pullback(gradient / self.parts)
            gradients = {name: gradients.get(name, 0.0) + value for name, value in context.gradients.items()}
            losses += loss / self.parts
            correct += right
            self.model.learn(context.statistics)
        losses, correct, gradients = self._reduced(losses, correct, gradients)
        self.model.learn(self.optimizer.update(context.weights, gradients, inputs.numbers))
        self.steps += 1
        return StepResult(losses, correct)

    def predict(self, images: np.ndarray) -> np.ndarray:
        return np.asarray(predict(self.model, images))

    def state(self) -> TrainingState:
        return TrainingState(get_weights(self.model), self.optimizer.get_slots(), self.steps)

    def _forward(self, part: StepInputs) -> tuple[np.ndarray, Pullback, Pass]:
        images = to_native(self.model, part.images, training=True)
        return self.model.differentiate(images, self.frozen, part.factors, rows=self.rows)

    def _score(self, logits: np.ndarray, part: StepInputs) -> tuple[float, int, np.ndarray]:
        """(mean loss, correct images, gradient of the loss)."""
        loss, gradient = cross_entropy(logits, part.targets)
        return loss, int(hits(logits, part.targets).sum()), gradient

    def _reduced(self, loss: float, correct: int, gradients: Weights) -> tuple[float, int, Weights]:
        """The same, of a whole batch."""
        return loss, correct, gradients


def hits(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(batch,): whether the largest logit of an image is at the class of its largest target."""
    return np.asarray(logits.argmax(-1) == targets.argmax(-1))


def cross_entropy(logits: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
    """(mean loss, its gradient) of logits and target distributions, both (batch, classes)."""
    log_probabilities = log_softmax(logits)
    loss = float(-(targets * log_probabilities).sum() / len(logits))
    return loss, (np.exp(log_probabilities) - targets) / len(logits)
