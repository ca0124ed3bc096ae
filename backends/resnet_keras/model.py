"""From spec to Keras model."""

from __future__ import annotations

import re
from collections.abc import Mapping

import keras
import numpy as np

from resnet_core.architecture import layer_tree
from resnet_core.errors import InputError
from resnet_core.inputs import starting_weights
from resnet_core.specification import ResNetSpec
from resnet_core.tap_paths import Record, tap_nodes
from resnet_core.tree import Chain, Combinator
from resnet_keras import HALF_DTYPES
from resnet_keras.lowering import Pass, is_deep, layer_name, part
from resnet_keras.runtime import dtype_policy
from resnet_keras.weights import remember, set_weights


def build(
    spec: ResNetSpec,
    *,
    weights: Mapping[str, np.ndarray] | None = None,
    seed: int = 0,
    taps: tuple[str, ...] = (),
    dtype: str | None = None,
) -> keras.Model:
    """`build_tree` on the spec's layer tree."""
    policy = dtype_policy(dtype)
    weights = starting_weights(spec, weights, seed, policy.variable_dtype, HALF_DTYPES)
    return assembled(layer_tree(spec), spec.in_channels, weights, taps, policy, _model_name(spec))


def build_tree(
    tree: Chain,
    *,
    channels: int,
    weights: Mapping[str, np.ndarray],
    taps: tuple[str, ...] = (),
    dtype: str | None = None,
) -> keras.Model:
    """A functional model whose variables hold copies of the weights."""
    return assembled(tree, channels, weights, taps, dtype_policy(dtype), "resnet")


def default_dtype() -> str:
    """The dtype of the weights of a model for which none is given: that of the global policy's variables."""
    return dtype_policy(None).variable_dtype


def assembled(
    tree: Chain,
    channels: int,
    weights: Mapping[str, np.ndarray],
    taps: tuple[str, ...],
    policy: keras.DTypePolicy,
    name: str,
) -> keras.Model:
    """A model for (batch, height, width, channels) of any size; returns the last child's output, or {tap: tensor}."""
    nodes, deep = tap_nodes(tree, taps), is_deep(tree)
    if deep and (inside := [tap for tap, path in nodes.items() if "." in path]):
        near = ", ".join(child for child, _ in tree.children)
        raise InputError(
            f"taps: received {inside[0]!r}; in Keras the children of so deep a network are models of their own, and "
            f"only {near} can be taps"
        )
    context = Pass(policy, Record(nodes.values()))
    images = x = keras.Input((None, None, channels), dtype=policy.variable_dtype, name="images")
    for child, node in tree.children:
        x = part(node, x, child, context, deep)
        if isinstance(node, Combinator):  # its end, by its name; that of the network is exact in mixed precision
            kept = policy.variable_dtype if node is tree.children[-1][1] else policy
            x = keras.layers.Activation("linear", name=layer_name(child), dtype=kept)(x)
        context.record.keep(child, x)
    outputs = {tap: context.record.outputs[path] for tap, path in nodes.items()} if taps else x
    model = keras.Model(images, outputs, name=name)
    model.dtype_policy = policy
    remember(model, tree, nodes)
    set_weights(model, weights)
    return model


def _model_name(spec: ResNetSpec) -> str:
    # Only what Keras and all of its engines accept; TensorFlow's scopes are the strictest.
    return re.sub(r"[^A-Za-z0-9_-]", "_", spec.name).lstrip("_-") or "resnet"
