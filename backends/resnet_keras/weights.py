"""Neutral weights in and out of a Keras model: names by walking the nesting, kernels transposed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from resnet_core.layouts import oihw_shape, to_hwio, to_oihw
from resnet_core.weights import Weights, check_weights

# Keras' name of a layer's variable to the neutral one's last segment.
SUFFIXES = {
    "kernel": "weight",
    "gamma": "weight",
    "bias": "bias",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def get_weights(model: keras.Model) -> Weights:
    """{neutral name: array} of parameters and running statistics, as copies, in the model's dtype."""
    return {name: to_neutral(variable) for name, variable in variables(model)}


def set_weights(model: keras.Model, weights: Mapping[str, np.ndarray]) -> None:
    """Copy neutral weights into the model. Raises WeightsError, and changes nothing, where they do not fit."""
    found = dict(variables(model))
    shapes = {name: oihw_shape(variable.shape) for name, variable in found.items()}
    checked = check_weights(weights, shapes, next(iter(found.values())).dtype)
    for name, variable in found.items():
        variable.assign(np.ascontiguousarray(to_hwio(checked[name])))


def variables(model: keras.Model, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(neutral name, variable) of every tensor, through the nested models."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from variables(layer, f"{prefix}{layer.name}.")
        else:
            for variable in layer.variables:
                if variable.name in SUFFIXES:
                    yield f"{prefix}{layer.name}.{SUFFIXES[variable.name]}", variable


def to_neutral(value: Any) -> np.ndarray:
    """A variable or a gradient of its shape as a neutral array."""
    return to_oihw(np.asarray(keras.ops.convert_to_numpy(value)))
