"""Training steps in NumPy: forward, loss, backward, update, each of them written out."""

from __future__ import annotations

import numpy as np

from resnet_core.analysis import parameters
from resnet_core.numerics import log_softmax
from resnet_core.specification import ResNetSpec
from resnet_core.training.contract import StepResult, TrainingState
from resnet_core.training.recipe import Recipe, decayed_parameters
from resnet_core.training.schedule import StepNumbers
from resnet_numpy.inference import predict
from resnet_numpy.model import build
from resnet_numpy.optimizer import Optimizer
from resnet_numpy.weights import get_weights


class Trainer:
    """A network and its optimizer, ready for the step after `state.step`."""

    def __init__(self, spec: ResNetSpec, recipe: Recipe, state: TrainingState, *, dtype: str = "float32") -> None:
        self.recipe = recipe
        self.model = build(spec, weights=state.weights, dtype=dtype)
        self.parameters = list(parameters(spec))
        self.optimizer = Optimizer(recipe, self.parameters, state, decayed_parameters(spec, recipe))
        self.steps = state.step

    def step(self, images: np.ndarray, labels: np.ndarray, numbers: StepNumbers) -> StepResult:
        """One update from images (batch, height, width, channels) and their classes (batch,)."""
        logits, pullback, state = self.model.differentiate(images)
        loss, gradient = cross_entropy(logits, labels, self.recipe.label_smoothing)
        pullback(gradient)
        updated = {
            name: self.optimizer.update(name, state.weights[name], state.gradients[name], numbers)
            for name in self.parameters
        }
        self.model.learn({**updated, **state.statistics})
        self.steps += 1
        return StepResult(loss, int((logits.argmax(-1) == labels).sum()))

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Logits in evaluation mode."""
        return np.asarray(predict(self.model, images))

    def state(self) -> TrainingState:
        """Weights, optimizer slots and step count, as copies, in neutral layout."""
        return TrainingState(get_weights(self.model), self.optimizer.get_slots(), self.steps)


def cross_entropy(logits: np.ndarray, labels: np.ndarray, smoothing: float) -> tuple[float, np.ndarray]:
    """(mean loss, its gradient) of logits (batch, classes) and class numbers (batch,).

    With smoothing a, the target is (1 - a) for the class plus a / classes for all.
    """
    batch, classes = logits.shape
    target = np.full(logits.shape, smoothing / classes)
    target[np.arange(batch), labels] += 1 - smoothing
    log_probabilities = log_softmax(logits)
    return float(-(target * log_probabilities).sum() / batch), (np.exp(log_probabilities) - target) / batch
