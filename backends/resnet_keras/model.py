"""A spec becomes a Keras model."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np

from resnet_core.architecture import layer_tree, tap_nodes
from resnet_core.backend import starting_weights
from resnet_core.spec import ResNetSpec
from resnet_keras.lowering import lower
from resnet_keras.weights import set_weights


def build(
    spec: ResNetSpec,
    *,
    weights: Mapping[str, np.ndarray] | None = None,
    seed: int = 0,
    taps: tuple[str, ...] = (),
    dtype: str = "float32",
) -> keras.Model:
    """A native model with the given neutral weights, or the spec's initial weights for `seed`.

    Takes (batch, height, width, channels) of any size; returns the logits, or {tap: tensor} when built
    with taps. Raises InputError for an unknown tap or dtype, WeightsError for weights of another spec or
    dtype.
    """
    weights = starting_weights(spec, weights, seed, dtype)
    nodes = tap_nodes(spec, taps)
    inputs = x = keras.Input((None, None, spec.in_channels), dtype=dtype, name="images")
    outputs = {}
    for name, child in layer_tree(spec).children:
        x = lower(child, x, name)
        outputs[name] = x
    output = {tap: outputs[node] for tap, node in nodes.items()} if taps else x
    model = keras.Model(inputs, output, name=_model_name(spec))
    set_weights(model, weights)
    return model


def _model_name(spec: ResNetSpec) -> str:
    # Keras refuses "/" in names, and on its PyTorch backend "."
    return spec.name.replace("/", "_").replace(".", "_") or "resnet"
