"""A spec becomes an NNX model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from flax import nnx
from jax import Array

from resnet_core.architecture import layer_tree, tap_nodes
from resnet_core.backend import starting_weights
from resnet_core.specification import ResNetSpec
from resnet_flax.lowering import lower
from resnet_flax.weights import set_weights


class ResNet(nnx.Module):
    """`stem`, `stage1` … `stageN`, `head`, one after the other.

    Takes (batch, height, width, channels) of any size; returns the logits, or {tap: array} when built with
    taps.
    """

    def __init__(self, spec: ResNetSpec, taps: tuple[str, ...], dtype: str) -> None:
        self.taps = tuple(tap_nodes(spec, taps).items())
        self.names = tuple(name for name, _ in layer_tree(spec).children)
        for name, child in layer_tree(spec).children:
            setattr(self, name, lower(child, dtype))

    def __call__(self, x: Array) -> Array | dict[str, Array]:
        outputs = {}
        for name in self.names:
            x = getattr(self, name)(x)
            if name in dict(self.taps).values():  # what nobody asked for is let go at once
                outputs[name] = x
        return {tap: outputs[node] for tap, node in self.taps} if self.taps else x


def build(
    spec: ResNetSpec,
    *,
    weights: Mapping[str, np.ndarray] | None = None,
    seed: int = 0,
    taps: tuple[str, ...] = (),
    dtype: str = "float32",
) -> nnx.Module:
    """A native model with the given neutral weights, or the spec's initial weights for `seed`.

    Raises InputError for an unknown tap or dtype, WeightsError for weights of another spec or dtype.
    """
    weights = starting_weights(spec, weights, seed, dtype)
    model = ResNet(spec, taps, dtype)
    set_weights(model, weights)
    return model
