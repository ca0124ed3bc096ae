"""Neutral weights in and out of a Keras model: names from those of the layers, kernels transposed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from resnet_core.analysis import state
from resnet_core.layouts import oihw_shape, to_hwio, to_oihw
from resnet_core.tree import Chain
from resnet_core.weights import Weights, as_array, check_weights
from resnet_keras.lowering import neutral_path

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
    """Every variable's value, transposed, and the weights kept aside."""
    found = {name: to_neutral(variable) for name, variable in variables(model)}
    if (tree := getattr(model, "tree", None)) is None:
        return found
    return {name: found[name] if name in found else model.aside[name].copy() for name in state(tree)}


def set_weights(model: keras.Model, weights: Mapping[str, np.ndarray]) -> None:
    """Assigns to the variables; weights that the model does not hold are kept aside."""
    found, tree = dict(variables(model)), getattr(model, "tree", None)
    own = {name: oihw_shape(variable.shape) for name, variable in found.items()}
    checked = check_weights(weights, own if tree is None else state(tree), model.inputs[0].dtype)
    if tree is not None:
        object.__setattr__(model, "aside", {name: array.copy() for name, array in checked.items() if name not in own})
    for name, variable in found.items():
        variable.assign(np.array(to_hwio(checked[name]), order="C"))  # a copy: JAX takes over what suits it


def native_tensors(model: keras.Model) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Each variable's `path`."""
    found = {name: (variable.path, tuple(variable.shape)) for name, variable in variables(model)}
    return {name: found[name] for name in state(model.tree) if name in found}


def remember(model: keras.Model, tree: Chain, nodes: Mapping[str, str]) -> None:
    """Attach the tree and the taps to the model.

    Keras keeps only what the outputs need: if all taps come before the head, the model has no head, and the head's
    weights are kept `aside`. This bypasses Keras' __setattr__, which would track and save these attributes.
    """
    for attribute, value in (("tree", tree), ("taps", dict(nodes)), ("aside", {})):
        object.__setattr__(model, attribute, value)


def variables(model: keras.Model) -> Iterator[tuple[str, Any]]:
    """(neutral name, variable) of every tensor, including nested models."""
    for path, layer in layers(model):
        for variable in layer.variables:
            if variable.name in SUFFIXES:
                yield f"{path}.{SUFFIXES[variable.name]}", variable


def layers(model: keras.Model, prefix: str = "") -> Iterator[tuple[str, keras.layers.Layer]]:
    """(dotted path, layer) of every layer, including nested models.

    A layer's name is its whole path; where it is a single segment, as in files of nested models, the models' names
    come before it.
    """
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from layers(layer, f"{prefix}{layer.name}.")
        else:
            path = neutral_path(layer.name)
            yield path if "." in path else f"{prefix}{path}", layer


def to_neutral(value: Any) -> np.ndarray:
    """A variable's value, or a gradient of the same shape, as a neutral array."""
    return to_oihw(as_array(np.asarray(keras.ops.convert_to_numpy(value))))
