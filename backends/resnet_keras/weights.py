"""Neutral weights in and out of a Keras model: names by walking the nesting, kernels transposed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from resnet_core.analysis import state
from resnet_core.layouts import oihw_shape, to_hwio, to_oihw
from resnet_core.tree import Chain
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
    """Every variable's value, transposed, and what was kept aside."""
    found = {name: to_neutral(variable) for name, variable in variables(model)}
    if (tree := getattr(model, "tree", None)) is None:
        return found
    aside = model.aside
    return {name: found[name] if name in found else aside[name].copy() for name in state(tree)}


def set_weights(model: keras.Model, weights: Mapping[str, np.ndarray]) -> None:
    """Assigned to the variables; what the model does not hold is kept aside."""
    found, tree = dict(variables(model)), getattr(model, "tree", None)
    own = {name: oihw_shape(variable.shape) for name, variable in found.items()}
    checked = check_weights(weights, own if tree is None else state(tree), model.inputs[0].dtype)
    if tree is not None:
        object.__setattr__(model, "aside", {name: array.copy() for name, array in checked.items() if name not in own})
    for name, variable in found.items():
        variable.assign(np.array(to_hwio(checked[name]), order="C"))  # a copy: JAX takes over what suits it


def remember(model: keras.Model, tree: Chain, nodes: Mapping[str, str]) -> None:
    """Let the model know its tree and taps.

    Keras keeps what the outputs need: with taps that come before the head, the model has no head, whose weights are
    kept `aside`. Past Keras' own __setattr__, which would take all of this for state of its own and save it.
    """
    for attribute, value in (("tree", tree), ("taps", dict(nodes)), ("aside", {})):
        object.__setattr__(model, attribute, value)


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
