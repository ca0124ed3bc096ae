"""The hand-written NNX model's tensors by neutral name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import jax.numpy as jnp
import numpy as np
from flax import nnx

_SUFFIXES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
_RENAMED = {"conv": "stem.conv", "norm": "stem.norm", "linear": "head.linear"}
# The model's one list of blocks, counted in stages.
_DEPTHS = enumerate((3, 4, 6, 3), start=1)
_BLOCKS = [f"stage{stage}.block{block}" for stage, depth in _DEPTHS for block in range(1, depth + 1)]


def set_weights(model: nnx.Module, weights: Mapping[str, np.ndarray]) -> None:
    for name, variable in _variables(model):
        value = weights[name]
        variable.set_value(jnp.asarray(value.transpose({4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[value.ndim])))


def get_weights(model: nnx.Module) -> dict[str, np.ndarray]:
    found = {}
    for name, variable in _variables(model):
        value = np.asarray(variable.get_value())
        found[name] = value.transpose({4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[value.ndim])
    return found


def _variables(model: nnx.Module) -> Iterator[tuple[str, nnx.Variable]]:
    for path, node in nnx.iter_graph(model):
        if isinstance(node, nnx.Variable):
            *modules, suffix = path
            yield f"{_neutral(modules)}.{_SUFFIXES[str(suffix)]}", node


def _neutral(modules: list[object]) -> str:
    if modules[0] != "blocks":
        return _RENAMED[str(modules[0])]
    _, index, layer = modules
    return f"{_BLOCKS[int(str(index))]}.{str(layer).replace('shortcut_', 'shortcut.')}"
