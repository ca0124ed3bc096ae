"""Planted defects: what a wrong backend would do. Imported in worker processes and by the tests.

A tree defect changes the layer tree that the backend lowers, a weight defect the weights it is given, as a
wrong mapping would; the core's truth stays as it is.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from resnet_core import architecture, tree
from resnet_core.padding import symmetric
from resnet_core.weights import Weights

LeafChange = Callable[[tree.Leaf], tree.Leaf]


def plant(session: Any, arrays: Any, *, name: str | None) -> tuple[None, None]:
    """Let the worker's backend lower a wrong tree from now on, or with None the right one again."""
    model = importlib.import_module(f"{session.backend.__name__}.model")
    change = TREE_DEFECTS[name] if name else lambda root: root
    model.layer_tree = lambda spec: change(architecture.layer_tree(spec))
    return None, None


def plant_biased_variance(session: Any, arrays: Any, *, planted: bool) -> tuple[None, None]:
    """Leave the running variance as the framework updates it."""
    from resnet_core.training.running_variance import unbiased_variances

    training = importlib.import_module(f"{session.backend.__name__}.training")
    training.unbiased_variances = (lambda *arguments: {}) if planted else unbiased_variances
    return None, None


def every(change: LeafChange) -> Callable[[tree.Node], Any]:
    """A tree defect from a change of single leaves."""

    def rebuild(node: tree.Node) -> Any:
        if isinstance(node, tree.Leaf):
            return change(node)
        if isinstance(node, tree.Residual):
            return tree.Residual(*(rebuild(chain) for chain in (node.pre, node.body, node.shortcut, node.post)))
        return tree.Chain(tuple((name, rebuild(child)) for name, child in node.children))

    return rebuild


def residuals(change: Callable[[tree.Residual], tree.Node]) -> Callable[[tree.Node], Any]:
    """A tree defect from a change of whole blocks."""

    def rebuild(node: tree.Node) -> Any:
        if isinstance(node, tree.Residual):
            return change(node)
        if isinstance(node, tree.Chain):
            return tree.Chain(tuple((name, rebuild(child)) for name, child in node.children))
        return node

    return rebuild


def _same_padding(leaf: tree.Leaf) -> tree.Leaf:
    if isinstance(leaf, tree.Conv) and leaf.stride != (1, 1):
        return replace(leaf, padding="same")
    return leaf


def _epsilon(leaf: tree.Leaf) -> tree.Leaf:
    return replace(leaf, epsilon=1e-3) if isinstance(leaf, tree.BatchNorm) else leaf


def _decay(leaf: tree.Leaf) -> tree.Leaf:
    return replace(leaf, decay=0.99) if isinstance(leaf, tree.BatchNorm) else leaf


def _symmetric_pool(leaf: tree.Leaf) -> tree.Leaf:
    return replace(leaf, padding=symmetric(3)) if isinstance(leaf, tree.MaxPool) else leaf


def _swapped_pool_sides(leaf: tree.Leaf) -> tree.Leaf:
    # "same" for 33 x 26 is ((1, 1), (0, 1)): height and width in each other's place keep the output's shape.
    return replace(leaf, padding=((0, 1), (1, 1))) if isinstance(leaf, tree.MaxPool) else leaf


def _no_dilation(leaf: tree.Leaf) -> tree.Leaf:
    if isinstance(leaf, tree.Conv) and leaf.dilation != (1, 1):
        return replace(leaf, dilation=(1, 1), padding=symmetric(leaf.kernel[0]))
    return leaf


def _channels_padded_at_the_end(leaf: tree.Leaf) -> tree.Leaf:
    if isinstance(leaf, tree.PadChannels):
        return tree.PadChannels(0, leaf.before + leaf.after)
    return leaf


def _averaging_subsample(leaf: tree.Leaf) -> tree.Leaf:
    return tree.AveragePool(leaf.stride, leaf.stride) if isinstance(leaf, tree.Subsample) else leaf


def _other_convolution(block: tree.Residual) -> tree.Node:
    """Move the stride of a bottleneck from its 3x3 to its first 1x1."""
    body = dict(block.body.children)
    first, second = body["conv1"], body["conv2"]
    assert isinstance(first, tree.Conv)
    assert isinstance(second, tree.Conv)
    body["conv1"], body["conv2"] = replace(first, stride=second.stride), replace(second, stride=(1, 1))
    return replace(block, body=tree.Chain(tuple(body.items())))


def _no_last_relu(block: tree.Residual) -> tree.Node:
    return replace(block, post=tree.Chain())


def _raw_shortcut(block: tree.Residual) -> tree.Node:
    """Pre-activation, but the projection reads the raw input."""
    if not block.pre.children:
        return block
    return replace(block, pre=tree.Chain(), body=tree.Chain((*block.pre.children, *block.body.children)))


#: Name to (what it does to the tree). Each is caught in `test_defects.py` on the spec given there.
TREE_DEFECTS: dict[str, Callable[[tree.Node], Any]] = {
    "SAME padding at stride 2": every(_same_padding),
    "wrong epsilon": every(_epsilon),
    "stride on the other convolution": residuals(_other_convolution),
    "missing ReLU": residuals(_no_last_relu),
    "symmetric instead of SAME max-pool": every(_symmetric_pool),
    "height and width swapped in the SAME rule": every(_swapped_pool_sides),
    "dilation lost": every(_no_dilation),
    "option A pads channels at the end": every(_channels_padded_at_the_end),
    "option A averages instead of subsampling": every(_averaging_subsample),
    "projection reads the raw input": residuals(_raw_shortcut),
    "wrong momentum": every(_decay),
}


def _swap(weights: Weights, one: str, other: str) -> Weights:
    changed = dict(weights)
    for name in weights:
        if name.endswith(f".{one}"):
            partner = f"{name.removesuffix(one)}{other}"
            if partner in weights:
                changed[name], changed[partner] = weights[partner], weights[name]
    return changed


def _norms(weights: Weights, suffix: str, value: float) -> Weights:
    return {name: np.full_like(w, value) if name.endswith(suffix) else w for name, w in weights.items()}


def _kernels(weights: Weights, change: Callable[[np.ndarray], np.ndarray]) -> Weights:
    return {
        name: np.ascontiguousarray(change(w)) if w.ndim == 4 and w.shape[2] > 1 else w for name, w in weights.items()
    }


def _shuffled_groups(weights: Weights) -> Weights:
    """Output channels dealt over the groups in the wrong order (width 4 groups apart)."""
    return {
        name: np.ascontiguousarray(w.reshape(8, -1, *w.shape[1:]).swapaxes(0, 1).reshape(w.shape))
        if name.endswith("conv2.weight")
        else w
        for name, w in weights.items()
    }


WEIGHT_DEFECTS: dict[str, Callable[[Weights], Weights]] = {
    "swapped gamma and variance": lambda weights: _swap(weights, "running_var", "weight"),
    "swapped beta and mean": lambda weights: _swap(weights, "running_mean", "bias"),
    "lost running mean": lambda weights: _norms(weights, "running_mean", 0.0),
    "lost running variance": lambda weights: _norms(weights, "running_var", 1.0),
    "kernel with height and width transposed": lambda weights: _kernels(weights, lambda w: w.swapaxes(2, 3)),
    "kernel flipped (convolution for correlation)": lambda weights: _kernels(weights, lambda w: w[:, :, ::-1, ::-1]),
    "lost convolution bias": lambda weights: {
        name: np.zeros_like(w) if ".conv" in name and name.endswith("bias") else w for name, w in weights.items()
    },
    "groups dealt in the wrong order": _shuffled_groups,
}
