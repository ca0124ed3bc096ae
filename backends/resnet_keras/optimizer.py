"""The optimizers: a Keras optimizer with the neutral formulas, since Keras' own optimizers differ.

keras.optimizers.SGD keeps the learning rate inside the momentum buffer, weight decay is decoupled, and Adam adds
epsilon before the bias correction (keras/src/optimizers/sgd.py, adam.py, base_optimizer.py).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from resnet_core.layouts import to_hwio
from resnet_core.training.contract import StepNumbers, TrainingState
from resnet_core.training.parameters import Treatment
from resnet_core.training.recipe import CLIP_EPSILON, Recipe
from resnet_core.weights import Weights
from resnet_keras.weights import to_neutral
from resnet_keras.weights import variables as named_variables


class Optimizer(keras.optimizers.Optimizer):
    """SGD with momentum, Adam or AdamW, according to the recipe, over the model's trainable variables."""

    def __init__(
        self, recipe: Recipe, model: keras.Model, state: TrainingState, treatments: dict[str, Treatment]
    ) -> None:
        super().__init__(learning_rate=recipe.learning_rate, name=recipe.optimizer)
        self.recipe = recipe
        names = {id(variable): name for name, variable in named_variables(model)}
        self.names = [names[id(variable)] for variable in model.trainable_variables]
        self.treatments = [treatments[name] for name in self.names]
        self.slots: dict[str, list[Any]] = {}
        self.sums: list[Any] = []  # of gradients, where a step has several parts
        self.updates = True  # whether the function that is compiled next updates the parameters
        self.build(model.trainable_variables)
        self.iterations.assign(state.step)
        for slot, own in self.slots.items():
            for name, value in zip(self.names, own, strict=True):
                value.assign(np.array(to_hwio(state.slot(slot, name)), order="C"))  # as in weights.py

    def build(self, variables: Any) -> None:
        if self.built:
            return
        super().build(variables)
        self.correction1, self.correction2 = (
            self.add_variable((), initializer="ones", name=f"correction{index}") for index in (1, 2)
        )
        if self.recipe.accumulate > 1:
            self.sums = [self.add_variable_from_reference(variable, name="sum") for variable in variables]
        for slot in self.recipe.slots:
            self.slots[slot] = [self.add_variable_from_reference(variable, name=slot) for variable in variables]

    def prepare(self, numbers: StepNumbers) -> None:
        """Set the variables that change from step to step, which the compiled step reads."""
        self.learning_rate.assign(numbers.learning_rate)
        if self.recipe.optimizer != "sgd":
            self.correction1.assign(numbers.correction1)
            self.correction2.assign(numbers.correction2)

    def apply(self, gradients: Any, trainable_variables: Any = None) -> None:
        """Add up the parts; scale to the allowed norm of all together (Keras' `global_clipnorm` adds no epsilon)."""
        if self.sums:
            gradients = [
                kept.value + part / self.recipe.accumulate for kept, part in zip(self.sums, gradients, strict=True)
            ]
            for kept, value in zip(self.sums, gradients, strict=True):
                self.assign(kept, 0 * value if self.updates else value)
        if not self.updates:
            return
        if self.recipe.clip_norm is not None:
            norm = keras.ops.sqrt(sum(keras.ops.sum(gradient * gradient) for gradient in gradients))
            scale = keras.ops.minimum(1.0, self.recipe.clip_norm / (norm + CLIP_EPSILON))
            gradients = [gradient * scale for gradient in gradients]
        super().apply(gradients, trainable_variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move one parameter along its gradient.

        Uses native tensors and Python floats: on TensorFlow, keras.ops.cast would turn a float into float32.
        """
        recipe, index = self.recipe, self._get_variable_index(variable)
        decay, rate = self.treatments[index].decay, self.learning_rate.value * self.treatments[index].rate
        weight = keras.ops.convert_to_tensor(variable)  # TensorFlow passes its native variable
        if decay and recipe.optimizer == "adamw":
            weight = weight * (1 - rate * decay)
        elif decay:
            gradient = gradient + decay * weight
        direction = self._momentum if recipe.optimizer == "sgd" else self._adam
        self.assign(variable, weight - rate * direction(gradient, index))

    def _momentum(self, gradient: Any, index: int) -> Any:
        if "momentum" not in self.slots:
            return gradient
        momentum, buffer = self.recipe.momentum, self.slots["momentum"][index]
        value = momentum * buffer.value + gradient
        self.assign(buffer, value)
        return gradient + momentum * value if self.recipe.nesterov else value

    def _adam(self, gradient: Any, index: int) -> Any:
        beta1, beta2 = self.recipe.betas
        first, second = (self.slots[slot][index] for slot in ("moment1", "moment2"))
        mean = beta1 * first.value + (1 - beta1) * gradient
        square = beta2 * second.value + (1 - beta2) * (gradient * gradient)
        self.assign(first, mean)
        self.assign(second, square)
        scale = keras.ops.sqrt(square) / self.correction2.value + self.recipe.epsilon
        return mean / self.correction1.value / scale

    def get_slots(self) -> dict[str, Weights]:
        """{slot: {parameter: array}}, as copies."""
        return {
            slot: {name: to_neutral(value) for name, value in zip(self.names, own, strict=True)}
            for slot, own in self.slots.items()
        }
