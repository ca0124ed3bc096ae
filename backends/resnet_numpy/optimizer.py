"""The optimizers, written out: PyTorch's formulas, one array at a time."""

from __future__ import annotations

import numpy as np

from resnet_core.training.contract import StepNumbers, TrainingState
from resnet_core.training.recipe import Recipe
from resnet_core.weights import Weights

Array = np.ndarray


class Optimizer:
    """SGD with momentum, Adam or AdamW, according to the recipe.

    `slots` holds what it remembers from earlier steps, in the dtype of the checkpoints.
    """

    def __init__(self, recipe: Recipe, parameters: list[str], state: TrainingState, decayed: set[str]) -> None:
        self.recipe, self.decayed = recipe, decayed
        self.slots = {slot: {name: state.slot(slot, name).copy() for name in parameters} for slot in recipe.slots}

    def update(self, name: str, weight: Array, gradient: Array, numbers: StepNumbers) -> Array:
        """The parameter's new value."""
        recipe, decay = self.recipe, self.recipe.weight_decay if name in self.decayed else 0.0
        if recipe.optimizer == "adamw":
            weight = weight * (1 - numbers.learning_rate * decay)  # decoupled: not part of the gradient
        else:
            gradient = gradient + decay * weight  # coupled: the gradient of decay / 2 * weight ** 2
        direction = self._momentum if recipe.optimizer == "sgd" else self._adam
        return weight - numbers.learning_rate * direction(name, gradient, numbers)

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
