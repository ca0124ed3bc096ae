"""The deploy form: what a network computes in evaluation mode, with each norm folded into its convolution.

A norm in evaluation mode is a factor and a term for each channel, and so is a convolution with a bias behind it:
`gamma / sqrt(variance + epsilon)` goes into the kernel and the rest into the bias. Folding a network twice changes
nothing more.

Folded are batch and frozen norms behind a convolution in the same block, also behind a blur, an average pool or a
subsampling between the two, which all keep a factor and a term as they are. A norm in front of a convolution stays, as
in pre-activation blocks: behind it comes an activation. What only training needs is left out, and standardized kernels
are stored as they compute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from resnet_core.rewrite import rewrite
from resnet_core.tree import (
    AveragePool,
    BatchNorm,
    BlurPool,
    Chain,
    Conv,
    Dropout,
    DropPath,
    FrozenNorm,
    Node,
    Subsample,
    join,
    walk,
)
from resnet_core.weights import Weights

Named = tuple[str, Node]

#: What may stand between a convolution and its norm: means of pixels, and pixels themselves.
_BETWEEN = (BlurPool, AveragePool, Subsample)
_ONLY_IN_TRAINING = (Dropout, DropPath)
_CHANGED = (Conv, BatchNorm, FrozenNorm)


def fold(tree: Chain) -> Chain:
    """The tree in deploy form; its tensors are those of `fold_weights`."""
    return rewrite(tree, Chain, _folded_chain)


def fold_weights(tree: Chain, weights: Mapping[str, np.ndarray]) -> Weights:
    """The weights of the tree, which is not folded, as those of the folded one; computed in float64."""
    folded: Weights = {name: np.asarray(array) for name, array in weights.items()}
    for path, node in walk(tree):
        if isinstance(node, Chain):
            norms = _norms(node)
            for name, child in node.children:
                if isinstance(child, Conv):
                    _fold(folded, child, join(path, name), norms.get(name), path)
    return folded


def folded(
    tree: Chain, weights: Mapping[str, np.ndarray], taps: Mapping[str, str] | None = None
) -> tuple[Chain, Weights]:
    """Tree and weights in deploy form; as they are where one of the `taps`, {name: path}, would see a difference."""
    nodes = dict(walk(tree))
    if any(isinstance(nodes[path], (*_BETWEEN, *_ONLY_IN_TRAINING, *_CHANGED)) for path in (taps or {}).values()):
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
            for convolution, (name, norm) in _norms(node).items():
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


def _folded_chain(chain: Chain) -> Chain:
    norms = _norms(chain)
    gone = {name for name, _ in norms.values()}
    children: list[Named] = []
    for name, child in chain.children:
        if name in gone or isinstance(child, _ONLY_IN_TRAINING):
            continue
        if isinstance(child, Conv):
            child = replace(child, bias=child.bias or name in norms, standardize=None)
        children.append((name, child))
    return chain if tuple(children) == chain.children else Chain(tuple(children))


def _norms(chain: Chain) -> dict[str, tuple[str, BatchNorm | FrozenNorm]]:
    """{convolution: (name, norm) that is folded into it}."""
    found: dict[str, tuple[str, BatchNorm | FrozenNorm]] = {}
    convolution: str | None = None
    for name, child in chain.children:
        if isinstance(child, Conv):
            convolution = name
        elif isinstance(child, BatchNorm | FrozenNorm) and convolution is not None:
            found[convolution] = (name, child)
            convolution = None
        elif not isinstance(child, _BETWEEN):
            convolution = None
    return found


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
