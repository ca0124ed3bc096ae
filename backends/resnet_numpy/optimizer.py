"""The optimizers, written out: PyTorch's formulas, one array at a time."""

from __future__ import annotations

import numpy as np

from resnet_core.training.contract import StepNumbers, TrainingState
from resnet_core.training.parameters import Treatment
from resnet_core.training.recipe import CLIP_EPSILON, Recipe
from resnet_core.weights import Weights

Array = np.ndarray


class Optimizer:
    """SGD with momentum, Adam or AdamW, according to the recipe.

    `slots` holds what it remembers from earlier steps, in the dtype of the checkpoints.
    """

    def __init__(self, recipe: Recipe, state: TrainingState, treatments: dict[str, Treatment]) -> None:
        self.recipe, self.treatments = recipe, treatments
        self.slots = {slot: {name: state.slot(slot, name).copy() for name in treatments} for slot in recipe.slots}

    def update(self, weights: Weights, gradients: Weights, numbers: StepNumbers) -> Weights:
        """The new values of the parameters that are trained."""
        scale = self._scale(gradients)
        return {name: self._updated(name, weights[name], scale * gradients[name], numbers) for name in self.treatments}

    def _scale(self, gradients: Weights) -> float:
        """What shrinks all gradients together to the norm that is allowed."""
        if self.recipe.clip_norm is None:
            return 1.0
        norm = np.sqrt(sum((gradients[name] ** 2).sum() for name in self.treatments))
        return min(1.0, self.recipe.clip_norm / (norm + CLIP_EPSILON))

    def _updated(self, name: str, weight: Array, gradient: Array, numbers: StepNumbers) -> Array:
        decay, rate = self.treatments[name].decay, numbers.learning_rate * self.treatments[name].rate
        if self.recipe.optimizer == "adamw":
            weight = weight * (1 - rate * decay)  # decoupled: not part of the gradient
        else:
            gradient = gradient + decay * weight  # coupled: the gradient of decay / 2 * weight ** 2
        direction = self._momentum if self.recipe.optimizer == "sgd" else self._adam
        return weight - rate * direction(name, gradient, numbers)

    def _momentum(self, name: str, gradient: Array, numbers: StepNumbers) -> Array:
        """A running sum of gradients; with Nesterov, it looks one step ahead."""
        if "momentum" not in self.slots:
            return gradient
        momentum = self.recipe.momentum
        buffer = momentum * self._recall("momentum", name) + gradient
        self._keep("momentum", name, buffer)
        return gradient + momentum * buffer if self.recipe.nesterov else buffer

    def _adam(self, name: str, gradient: Array, numbers: StepNumbers) -> Array:
        """The mean gradient in units of its root mean square, both corrected for starting at zero."""
        beta1, beta2 = self.recipe.betas
        first = beta1 * self._recall("moment1", name) + (1 - beta1) * gradient
        second = beta2 * self._recall("moment2", name) + (1 - beta2) * gradient**2
        self._keep("moment1", name, first)
        self._keep("moment2", name, second)
        return first / numbers.correction1 / (np.sqrt(second) / numbers.correction2 + self.recipe.epsilon)

    def get_slots(self) -> dict[str, Weights]:
        """{slot: {parameter: array}}, as copies."""
        return {slot: {name: array.copy() for name, array in arrays.items()} for slot, arrays in self.slots.items()}

    def _recall(self, slot: str, name: str) -> Array:
        return self.slots[slot][name].astype(np.float64)

    def _keep(self, slot: str, name: str, value: Array) -> None:
        self.slots[slot][name] = value.astype(self.slots[slot][name].dtype)
