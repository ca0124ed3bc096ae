"""From spec to NNX model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from flax import nnx
from jax import Array

from resnet_core.architecture import layer_tree
from resnet_core.inputs import starting_weights
from resnet_core.specification import ResNetSpec
from resnet_core.tap_paths import Record, tap_nodes
from resnet_core.tree import Chain
from resnet_core.weights import require_dtype
from resnet_flax import HALF_DTYPES
from resnet_flax.layers import draw_apart
from resnet_flax.lowering import lower, run
from resnet_flax.representation import Printed
from resnet_flax.runtime import precision
from resnet_flax.weights import set_weights


class ResNet(Printed):
    """`stem`, `stage1` … `stageN`, `head`, one after another.

    Takes (batch, height, width, channels) of any size; returns the logits, or {tap: array} when built with
    taps.
    """

    def __init__(self, tree: Chain, channels: int, taps: tuple[str, ...], dtype: str) -> None:
        self.tree, self.channels = tree, channels
        self.taps = tuple(tap_nodes(tree, taps).items())
        self.names = tuple(name for name, _ in tree.children)
        for name, child in tree.children:
            setattr(self, name, lower(child, dtype))

    def __call__(self, x: Array) -> Array | dict[str, Array]:
        record = Record(path for _, path in self.taps)
        x = run(self, self.names, x, record)
        return {tap: record.outputs[path] for tap, path in self.taps} if self.taps else x


def build(
    spec: ResNetSpec,
    *,
    weights: Mapping[str, np.ndarray] | None = None,
    seed: int = 0,
    taps: tuple[str, ...] = (),
    dtype: str | None = None,
) -> ResNet:
    """`build_tree` on the spec's layer tree."""
    weights = starting_weights(spec, weights, seed, dtype, HALF_DTYPES)
    return build_tree(layer_tree(spec), channels=spec.in_channels, weights=weights, taps=taps, dtype=dtype)


def build_tree(
    tree: Chain,
    *,
    channels: int,
    weights: Mapping[str, np.ndarray],
    taps: tuple[str, ...] = (),
    dtype: str | None = None,
) -> ResNet:
    """A model whose variables hold copies of the weights."""
    dtype = require_dtype(dtype or "float32", HALF_DTYPES)
    with precision(dtype):  # abstract at first: XLA would compile a program for the values of each shape
        model = nnx.eval_shape(lambda: ResNet(tree, channels, taps, dtype))
    draw_apart(model)
    set_weights(model, weights)
    return model
