"""The weights of the deploy form (`deploy_form`), computed in float64."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from resnet_core.deploy_form import BETWEEN, ONLY_IN_TRAINING, fold, folded_norms
from resnet_core.tree import BatchNorm, Chain, Conv, FrozenNorm, join, walk
from resnet_core.weights import Weights

_CHANGED = (Conv, BatchNorm, FrozenNorm)


def fold_weights(tree: Chain, weights: Mapping[str, np.ndarray]) -> Weights:
    """The weights of the tree, which is not folded, as those of the folded one; computed in float64."""
    folded: Weights = {name: np.asarray(array) for name, array in weights.items()}
    for path, node in walk(tree):
        if isinstance(node, Chain):
            norms = folded_norms(node)
            for name, child in node.children:
                if isinstance(child, Conv):
                    _fold(folded, child, join(path, name), norms.get(name), path)
    return folded


def folded(
    tree: Chain, weights: Mapping[str, np.ndarray], taps: Mapping[str, str] | None = None
) -> tuple[Chain, Weights]:
    """Tree and weights in deploy form; as they are where one of the `taps`, {name: path}, would see a difference."""
    nodes = dict(walk(tree))
    if any(isinstance(nodes[path], (*BETWEEN, *ONLY_IN_TRAINING, *_CHANGED)) for path in (taps or {}).values()):
        return tree, dict(weights)
    return fold(tree), fold_weights(tree, weights)


def unfold_weights(tree: Chain, weights: Mapping[str, np.ndarray]) -> Weights:
    """The weights of a folded tree as those of `tree`, the one that is not: norms that only add the bias.

    Kernels that `tree` would standardize are not those that it had.
    """
    unfolded: Weights = dict(weights)
    for path, node in walk(tree):
        if isinstance(node, Chain):
            children = dict(node.children)
            for convolution, (name, norm) in folded_norms(node).items():
                bias = unfolded.pop(f"{join(path, convolution)}.bias")
                if isinstance(conv := children[convolution], Conv) and conv.bias:
                    unfolded[f"{join(path, convolution)}.bias"] = np.zeros_like(bias)
                ones = np.ones_like(bias)
                values = {"weight": ones, "bias": bias, "running_mean": 0 * ones, "running_var": ones - norm.epsilon}
                place = join(path, name)
                unfolded |= {f"{place}.{tensor}": values[tensor].astype(bias.dtype) for tensor in norm.tensors()}
    return unfolded


def standardized(kernel: np.ndarray, epsilon: float) -> np.ndarray:
    """A kernel with mean 0 and variance 1 in each output channel (`tree.Conv`)."""
    centered = kernel - kernel.mean((1, 2, 3), keepdims=True)
    return centered / np.sqrt((centered**2).mean((1, 2, 3), keepdims=True) + epsilon)


def _fold(
    weights: Weights, conv: Conv, path: str, behind: tuple[str, BatchNorm | FrozenNorm] | None, parent: str
) -> None:
    """Replace the tensors of a convolution, and of the norm behind it, by those of the folded convolution."""
    dtype, kernel = weights[f"{path}.weight"].dtype, weights[f"{path}.weight"].astype(np.float64)
    if conv.standardize is not None:
        kernel = standardized(kernel, conv.standardize)
    if behind is not None:
        norm, place = behind[1], join(parent, behind[0])
        gamma, beta, mean, variance = (weights.pop(f"{place}.{name}").astype(np.float64) for name in norm.tensors())
        factor = gamma / np.sqrt(variance + norm.epsilon)
        bias = weights[f"{path}.bias"].astype(np.float64) if conv.bias else 0.0
        kernel = kernel * factor[:, None, None, None]
        weights[f"{path}.bias"] = ((bias - mean) * factor + beta).astype(dtype)
    weights[f"{path}.weight"] = kernel.astype(dtype)
