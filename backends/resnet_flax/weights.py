"""Neutral weights in and out of an NNX model: names by walking the modules, kernels transposed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from resnet_core.analysis import state
from resnet_core.layouts import to_hwio, to_oihw
from resnet_core.weights import Weights, as_array, check_weights
from resnet_flax.runtime import precision

# Flax's name of a module's variable to the neutral one's last segment.
SUFFIXES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}


def get_weights(model: nnx.Module) -> Weights:
    """Every variable's value, transposed. NNX walks a model alphabetically; the result is in tree order."""
    found = dict(variables(model))
    return {name: to_neutral(found[name].get_value()) for name in state(model.tree)}


def set_weights(model: nnx.Module, weights: Mapping[str, np.ndarray]) -> None:
    """Gives each variable a new value."""
    found, dtype = dict(variables(model)), model_dtype(model)
    checked = check_weights(weights, state(model.tree), dtype)
    with precision(dtype):
        for name, variable in found.items():
            # Replace the whole value, so that BatchNorm's float32 statistics get the model's dtype.
            variable.set_value(from_neutral(checked[name], dtype))


def native_tensors(model: nnx.Module) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The attributes on the way to each variable, as in `nnx.to_flat_state(nnx.state(model))`."""
    paths = nnx.to_flat_state(nnx.state(model, nnx.Not(nnx.RngState)))
    found = {neutral_name(path): (".".join(map(str, path)), tuple(variable.shape)) for path, variable in paths}
    return {name: found[name] for name in state(model.tree)}


def model_dtype(model: nnx.Module) -> str:
    """The dtype of the model's parameters."""
    parameter = next(variable for _, variable in variables(model) if isinstance(variable, nnx.Param))
    return str(parameter.dtype)


def variables(model: nnx.Module) -> Iterator[tuple[str, nnx.Variable[Any]]]:
    """(neutral name, variable) of every tensor."""
    for path, node in nnx.iter_graph(model):
        if isinstance(node, nnx.Variable) and not isinstance(node, nnx.RngState):  # a dropout's own
            yield neutral_name(path), node


def neutral_name(path: tuple[Any, ...]) -> str:
    """("stem", "conv", "kernel") to "stem.conv.weight"."""
    *modules, variable = map(str, path)
    return ".".join((*modules, SUFFIXES[variable]))


def from_neutral(array: np.ndarray, dtype: str) -> jax.Array:
    """A copy in Flax's layout: JAX may keep the array that it is given, and compiles a program where it copies one."""
    return jax.device_put(np.array(to_hwio(array), jnp.dtype(dtype), order="C"))


def to_neutral(value: Any) -> np.ndarray:
    """A variable's value, or a gradient of the same shape, as a neutral array."""
    return to_oihw(as_array(np.asarray(value)))
