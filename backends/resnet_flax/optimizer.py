"""The optimizers: optax, except for Adam's bias correction, which optax computes in the parameters' precision."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from resnet_core.training.contract import StepNumbers, TrainingState
from resnet_core.training.parameters import Treatment
from resnet_core.training.recipe import CLIP_EPSILON, Recipe
from resnet_core.weights import Weights
from resnet_flax.weights import from_neutral, to_neutral

Arrays = dict[str, Array]  # by neutral name, in Flax's layout


class Optimizer:
    """SGD with momentum, Adam or AdamW, according to the recipe, over parameters by neutral name."""

    def __init__(
        self, recipe: Recipe, parameters: Arrays, state: TrainingState, treatments: dict[str, Treatment]
    ) -> None:
        self.recipe, self.treatments = recipe, treatments
        mask = {name: treatment.decay > 0 for name, treatment in treatments.items()}
        self.native = optax.chain(*_transformations(recipe, mask))
        restored = {
            slot: {name: from_neutral(state.slot(slot, name), str(parameters[name].dtype)) for name in treatments}
            for slot in recipe.slots
        }
        trained = {name: parameters[name] for name in treatments}
        self.memory = jax.tree.map(lambda part: _filled(part, restored), self.native.init(trained), is_leaf=_remembers)

    def update(self, gradients: Arrays, memory: Any, parameters: Arrays, numbers: StepNumbers) -> tuple[Arrays, Any]:
        """(new parameters, new memory); a pure function, so that it can be compiled with the rest of the step."""
        directions, memory = self.native.update(self._clipped(gradients), memory, parameters, numbers=numbers)
        steps = {
            name: -numbers.learning_rate * self.treatments[name].rate * direction
            for name, direction in directions.items()
        }
        return optax.apply_updates(parameters, steps), memory

    def _clipped(self, gradients: Arrays) -> Arrays:
        """Scaled to the allowed norm of all together, by hand.

        optax.clip_by_global_norm adds no epsilon, and optax.tree.norm is newer than the lowest version.
        """
        if self.recipe.clip_norm is None:
            return gradients
        norm = jnp.sqrt(sum(jnp.vdot(gradient, gradient) for gradient in gradients.values()))
        scale = jnp.minimum(1.0, self.recipe.clip_norm / (norm + CLIP_EPSILON))
        return {name: gradient * scale for name, gradient in gradients.items()}

    def get_slots(self) -> dict[str, Weights]:
        """{slot: {parameter: array}}, as copies."""
        parts = [part for part in jax.tree.leaves(self.memory, is_leaf=_remembers) if _remembers(part)]
        found = {slot: arrays for part in parts for slot, arrays in _slots(part).items()}
        return {slot: {name: to_neutral(array) for name, array in arrays.items()} for slot, arrays in found.items()}


def scale_by_moments(betas: tuple[float, float], epsilon: float) -> optax.GradientTransformationExtraArgs:
    """optax.scale_by_adam, but with the bias corrections passed in for each step."""
    beta1, beta2 = betas

    def init(parameters: Arrays) -> optax.ScaleByAdamState:
        zeros = jax.tree.map(jnp.zeros_like, parameters)
        return optax.ScaleByAdamState(count=jnp.zeros([], jnp.int32), mu=zeros, nu=zeros)

    def update(
        gradients: Arrays, state: optax.ScaleByAdamState, parameters: Any = None, *, numbers: StepNumbers, **rest: Any
    ) -> tuple[Arrays, optax.ScaleByAdamState]:
        first = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, state.mu, gradients)
        second = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * g * g, state.nu, gradients)
        directions = jax.tree.map(
            lambda m, v: m / numbers.correction1 / (jnp.sqrt(v) / numbers.correction2 + epsilon), first, second
        )
        return directions, optax.ScaleByAdamState(count=state.count, mu=first, nu=second)

    return optax.GradientTransformationExtraArgs(init, update)


def _transformations(recipe: Recipe, mask: dict[str, bool]) -> list[optax.GradientTransformation]:
    decay = [optax.add_decayed_weights(recipe.weight_decay, mask)] if recipe.weight_decay else []
    if recipe.optimizer == "sgd":
        momentum = optax.trace(recipe.momentum, recipe.nesterov) if recipe.momentum else optax.identity()
        return [*decay, momentum]
    adam = scale_by_moments(recipe.betas, recipe.epsilon)
    return [*decay, adam] if recipe.optimizer == "adam" else [adam, *decay]


def _remembers(part: Any) -> bool:
    return isinstance(part, optax.TraceState | optax.ScaleByAdamState)


def _slots(part: Any) -> dict[str, Arrays]:
    """The neutral slots, as optax names them."""
    if isinstance(part, optax.TraceState):
        return {"momentum": part.trace}
    return {"moment1": part.mu, "moment2": part.nu}


def _filled(part: Any, slots: dict[str, Arrays]) -> Any:
    if isinstance(part, optax.TraceState):
        return optax.TraceState(trace=slots["momentum"])
    return part._replace(mu=slots["moment1"], nu=slots["moment2"]) if _remembers(part) else part
