"""Flax NNX: jitted forward of an evaluation view; jitted train step with nnx.Optimizer and optax.sgd."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array

from usage import LEARNING_RATE, MOMENTUM


def forward(model: nnx.Module, images: np.ndarray) -> Callable[[], np.ndarray]:
    inputs = jnp.asarray(images)
    view = nnx.view(model, use_running_average=True)
    return lambda: np.asarray(_forward(view, inputs))


def train_step(model: nnx.Module, images: np.ndarray, labels: np.ndarray) -> Callable[[], float]:
    inputs, targets = jnp.asarray(images), jnp.asarray(labels)
    view = nnx.view(model, use_running_average=False)
    optimizer = nnx.Optimizer(view, optax.sgd(LEARNING_RATE, momentum=MOMENTUM), wrt=nnx.Param)

    def run() -> float:
        loss = _train_step(view, optimizer, inputs, targets)
        # The loss is available before the new weights; the step is done when they are.
        jax.block_until_ready(nnx.state(view))
        return float(loss)

    return run


@nnx.jit
def _forward(model: nnx.Module, images: Array) -> Array:
    return model(images)


@nnx.jit
def _train_step(model: nnx.Module, optimizer: nnx.Optimizer, images: Array, labels: Array) -> Array:
    def loss_of(model: nnx.Module) -> Array:
        return optax.softmax_cross_entropy_with_integer_labels(model(images), labels).mean()

    loss, gradients = nnx.value_and_grad(loss_of)(model)
    optimizer.update(model, gradients)
    return loss
