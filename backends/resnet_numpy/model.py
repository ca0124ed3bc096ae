"""From spec to NumPy model."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from resnet_core.analysis import state
from resnet_core.architecture import layer_tree
from resnet_core.inputs import starting_weights
from resnet_core.specification import ResNetSpec
from resnet_core.tap_paths import Record, tap_nodes
from resnet_core.tree import Chain
from resnet_core.weights import Weights, check_weights, require_dtype
from resnet_numpy.layers import Array, Pullback
from resnet_numpy.lowering import Pass, run


class ResNet:
    """`stem`, `stage1` … `stageN`, `head`, one after another, with `weights` by neutral name.

    Takes (batch, height, width, channels) of any size; returns the logits, or {tap: array} when built with
    taps, in float64.
    """

    def __init__(self, tree: Chain, channels: int, taps: tuple[str, ...], weights: Weights) -> None:
        self.tree, self.channels = tree, channels
        self.taps = tap_nodes(tree, taps)
        self.weights = weights

    def __call__(self, x: Array, training: bool = False) -> Array | dict[str, Array]:
        """With `training`, norms use batch statistics, and the running statistics in `weights` are updated."""
        context = Pass(self.float64(), training, record=Record(self.taps.values()))
        x = np.asarray(x, np.float64)
        for name, child in self.tree.children:
            x, _ = run(child, x, name, context)
        self.learn(context.statistics)
        return {tap: context.record.outputs[path] for tap, path in self.taps.items()} if self.taps else x

    def differentiate(
        self, x: Array, frozen: Collection[str] = (), factors: Mapping[str, Array] | None = None, **others: Any
    ) -> tuple[Array, Pullback, Pass]:
        """(logits, pullback, pass) in training mode, but for norms whose paths are `frozen`; no state is changed.

        `factors` is what dropouts and drop paths multiply by, `others` what else a `Pass` may have.

        The pullback takes the gradient of a loss with respect to the logits; calling it fills `pass.gradients`,
        {neutral name: gradient}. `pass.statistics` has the running statistics after a training step.
        """
        context = Pass(
            self.float64(), training=True, differentiate=True, frozen=frozen, factors=factors or {}, **others
        )
        pullbacks: list[Pullback] = []
        x = np.asarray(x, np.float64)
        for name, child in self.tree.children:
            x, pullback = run(child, x, name, context)
            pullbacks.append(pullback)

        def backward(dy: Array) -> Array:
            for pullback in reversed(pullbacks):
                dy = pullback(dy)
            return dy

        return x, backward, context

    def float64(self) -> Weights:
        """The weights in float64, as used in computations."""
        return {name: np.asarray(value, np.float64) for name, value in self.weights.items()}

    def learn(self, values: Mapping[str, Array]) -> None:
        """Replace some weights, keeping the dtype in which they are stored."""
        for name, value in values.items():
            self.weights[name] = value.astype(self.weights[name].dtype)


def build(
    spec: ResNetSpec,
    *,
    weights: Mapping[str, np.ndarray] | None = None,
    seed: int = 0,
    taps: tuple[str, ...] = (),
    dtype: str | None = None,
) -> ResNet:
    """`build_tree` on the spec's layer tree."""
    weights = starting_weights(spec, weights, seed, dtype)
    return build_tree(layer_tree(spec), channels=spec.in_channels, weights=weights, taps=taps, dtype=dtype)


def build_tree(
    tree: Chain,
    *,
    channels: int,
    weights: Mapping[str, np.ndarray],
    taps: tuple[str, ...] = (),
    dtype: str | None = None,
) -> ResNet:
    """A model that holds copies of the weights."""
    checked = check_weights(weights, state(tree), require_dtype(dtype or "float32"))
    return ResNet(tree, channels, taps, {name: array.copy() for name, array in checked.items()})
