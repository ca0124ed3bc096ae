"""Planted defects: what a wrong backend would do. Imported in worker processes and by the tests.

A tree defect changes the layer tree that the backend lowers, a weight defect the weights it is given, as a
wrong mapping would; the core's truth stays as it is.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from resnet_core import architecture, tree
from resnet_core.padding import symmetric
from resnet_core.rewrite import rewrite
from resnet_core.weights import Weights

N = TypeVar("N", bound=tree.Node)


def plant(session: Any, arrays: Any, *, name: str | None) -> tuple[None, None]:
    """Let the worker's backend lower a wrong tree from now on, or with None the right one again."""
    model = importlib.import_module(f"{session.backend.__name__}.model")
    change = TREE_DEFECTS[name] if name else lambda root: root
    model.layer_tree = lambda spec: change(architecture.layer_tree(spec))
    return None, None


def plant_biased_variance(session: Any, arrays: Any, *, planted: bool) -> tuple[None, None]:
    """Leave the running variance as the framework updates it."""
    from resnet_core.training.running_variance import unbiased_variances

    differentiation = importlib.import_module(f"{session.backend.__name__}.differentiation")
    differentiation.unbiased_variances = (lambda *arguments: {}) if planted else unbiased_variances
    return None, None


def every(kind: type[N], change: Callable[[N], tree.Node]) -> Callable[[tree.Chain], tree.Chain]:
    """A tree defect from a change of every node of a kind."""
    return lambda root: rewrite(root, kind, change)


def _same_padding(conv: tree.Conv) -> tree.Conv:
    return replace(conv, padding="same") if conv.stride != (1, 1) else conv


def _swapped_pool_sides(pool: tree.MaxPool) -> tree.MaxPool:
    # "same" for 33 x 26 is ((1, 1), (0, 1)): height and width in each other's place keep the output's shape.
    return replace(pool, padding=((0, 1), (1, 1)))


def _no_dilation(conv: tree.Conv) -> tree.Conv:
    if conv.dilation != (1, 1):
        return replace(conv, dilation=(1, 1), padding=symmetric(conv.kernel[0]))
    return conv


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
TREE_DEFECTS: dict[str, Callable[[tree.Chain], tree.Chain]] = {
    "SAME padding at stride 2": every(tree.Conv, _same_padding),
    "wrong epsilon": every(tree.BatchNorm, lambda norm: replace(norm, epsilon=1e-3)),
    "stride on the other convolution": every(tree.Residual, _other_convolution),
    "missing ReLU": every(tree.Residual, _no_last_relu),
    "symmetric instead of SAME max-pool": every(tree.MaxPool, lambda pool: replace(pool, padding=symmetric(3))),
    "height and width swapped in the SAME rule": every(tree.MaxPool, _swapped_pool_sides),
    "dilation lost": every(tree.Conv, _no_dilation),
    "option A pads channels at the end": every(
        tree.PadChannels, lambda pad: tree.PadChannels(0, pad.before + pad.after)
    ),
    "option A averages instead of subsampling": every(
        tree.Subsample, lambda leaf: tree.AveragePool(leaf.stride, leaf.stride)
    ),
    "projection reads the raw input": every(tree.Residual, _raw_shortcut),
    "wrong momentum": every(tree.BatchNorm, lambda norm: replace(norm, decay=0.99)),
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
