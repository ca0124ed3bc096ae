"""A spec becomes a Keras model."""

from __future__ import annotations

import re
from collections.abc import Mapping

import keras
import numpy as np

from resnet_core.architecture import layer_tree, tap_nodes
from resnet_core.backend import starting_weights
from resnet_core.specification import ResNetSpec
from resnet_keras.lowering import lower
from resnet_keras.runtime import require_dtype
from resnet_keras.weights import set_weights, variables


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
    require_dtype(dtype)
    nodes = tap_nodes(spec, taps)
    inputs = x = keras.Input((None, None, spec.in_channels), dtype=dtype, name="images")
    outputs = {}
    for name, child in layer_tree(spec).children:
        x = lower(child, x, name)
        outputs[name] = x
    output = {tap: outputs[node] for tap, node in nodes.items()} if taps else x
    model = keras.Model(inputs, output, name=_model_name(spec))
    # Keras keeps what the outputs need: with taps that come before the head, the model has no head.
    set_weights(model, {name: weights[name] for name, _ in variables(model)} if taps else weights)
    return model


def _model_name(spec: ResNetSpec) -> str:
    # What Keras and each of its backends accept, TensorFlow's scopes being the narrowest.
    return re.sub(r"[^A-Za-z0-9_-]", "_", spec.name).lstrip("_-") or "resnet"
