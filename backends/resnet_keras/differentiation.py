"""Training mode: batch statistics, updated running statistics, gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from resnet_core.inputs import remembered_tree
from resnet_core.specification import ResNetSpec
from resnet_core.training.running_variance import unbiased_variances
from resnet_core.weights import Weights
from resnet_keras.inference import to_arrays, to_native
from resnet_keras.weights import get_weights, layers, set_weights, to_neutral, variables


def train_forward(
    model: keras.Model, images: np.ndarray, spec: ResNetSpec | None = None
) -> np.ndarray | dict[str, np.ndarray]:
    """Keras updates with the biased variance; the neutral, unbiased rule is applied afterward."""
    tree = remembered_tree(model, spec)
    before = get_weights(model)
    native = to_native(model, images, training=True)
    with _nothing_dropped(model):
        output = to_arrays(model(native, training=True), native.dtype)
    after = get_weights(model)
    set_weights(model, {**after, **unbiased_variances(tree, images.shape, before, after)})
    return output


def gradients(model: keras.Model, images: np.ndarray, cotangent: np.ndarray) -> Weights:
    """By the engine that Keras computes with; the statistics are restored."""
    before = get_weights(model)
    names = {id(variable): name for name, variable in variables(model)}
    native = to_native(model, images, training=True)
    try:
        with _nothing_dropped(model):
            values = _GRADIENTS[keras.backend.backend()](model, native, np.asarray(cotangent, native.dtype))
        return {
            names[id(variable)]: to_neutral(value)
            for variable, value in zip(model.trainable_variables, values, strict=True)
        }
    finally:
        set_weights(model, before)


@contextmanager
def _nothing_dropped(model: keras.Model) -> Iterator[None]:
    """Every random layer lets everything pass."""
    rates = [(layer, layer.rate) for _, layer in layers(model) if isinstance(layer, keras.layers.Dropout)]
    try:
        for layer, _ in rates:
            layer.rate = 0.0
        yield
    finally:
        for layer, rate in rates:
            layer.rate = rate


# Keras has no gradient function, so each of its engines has its own here.


def _tensorflow(model: keras.Model, images: np.ndarray, cotangent: np.ndarray) -> list[Any]:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(images, training=True) * cotangent)
    return tape.gradient(loss, [variable.value for variable in model.trainable_variables])


def _jax(model: keras.Model, images: np.ndarray, cotangent: np.ndarray) -> list[Any]:
    import jax

    def loss(trainable: list[Any]) -> Any:
        state = [variable.value for variable in model.non_trainable_variables]
        output, _ = model.stateless_call(trainable, state, images, training=True)
        return (output * cotangent).sum()

    return jax.jit(jax.grad(loss))([variable.value for variable in model.trainable_variables])


def _torch(model: keras.Model, images: np.ndarray, cotangent: np.ndarray) -> list[Any]:
    import torch

    output = model(images, training=True)
    values = [variable.value for variable in model.trainable_variables]
    return list(torch.autograd.grad(output, values, torch.from_numpy(cotangent).to(output)))


_GRADIENTS = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
