"""The hand-written Keras model's tensors by neutral name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import keras
import numpy as np

_SUFFIXES = {
    "kernel": "weight",
    "gamma": "weight",
    "bias": "bias",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_RENAMED = {"stem_conv": "stem.conv", "stem_norm": "stem.norm", "predictions": "head.linear"}


def set_weights(model: keras.Model, weights: Mapping[str, np.ndarray]) -> None:
    for name, variable in _variables(model):
        value = weights[name]
        variable.assign(value.transpose({4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[value.ndim]))


def get_weights(model: keras.Model) -> dict[str, np.ndarray]:
    found = {}
    for name, variable in _variables(model):
        value = keras.ops.convert_to_numpy(variable)
        found[name] = value.transpose({4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[value.ndim])
    return found


def _variables(model: keras.Model) -> Iterator[tuple[str, keras.Variable]]:
    for layer in model.layers:
        for variable in layer.weights:
            yield f"{_neutral(layer.name)}.{_SUFFIXES[variable.name]}", variable


def _neutral(layer: str) -> str:
    match = re.fullmatch(r"stage(\d)_block(\d)_(\d|shortcut)_(conv|norm)", layer)
    if match is None:
        return _RENAMED[layer]
    stage, block, place, kind = match.groups()
    return f"stage{stage}.block{block}." + (f"shortcut.{kind}" if place == "shortcut" else f"{kind}{place}")
