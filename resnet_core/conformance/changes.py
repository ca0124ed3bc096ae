"""What a wrong lowering would make of a layer tree or of weights: planted by the kit, and by the parity tests.

Each change leaves alone what it does not concern, so that it can be planted in any network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np

from resnet_core import tree
from resnet_core.padding import symmetric
from resnet_core.rewrite import rewrite
from resnet_core.weights import Weights

TreeChange = Callable[[tree.Chain], tree.Chain]
WeightChange = Callable[[Weights], Weights]
N = TypeVar("N", bound=tree.Node)


def every(kind: type[N], change: Callable[[N], tree.Node]) -> TreeChange:
    """Every node of a kind is changed."""
    return lambda root: rewrite(root, kind, change)


def _same_where_strided(conv: tree.Conv) -> tree.Conv:
    return conv if conv.stride == (1, 1) else replace(conv, padding="same")


def _no_dilation(conv: tree.Conv) -> tree.Conv:
    return conv if conv.dilation == (1, 1) else replace(conv, dilation=(1, 1), padding=symmetric(conv.kernel[0]))


def _raw_shortcut(block: tree.Residual) -> tree.Residual:
    """Pre-activation, but the projection reads the raw input."""
    body = tree.Chain((*block.pre.children, *block.body.children))
    return replace(block, pre=tree.Chain(), body=body) if block.shortcut.children else block


def _zeros_averaged(pool: tree.AveragePool) -> tree.Node:
    if not pool.partial:
        return pool
    whole = replace(pool, partial=False)
    return tree.Chain((("pad", tree.Pad(((0, pool.dilation[0]), (0, pool.dilation[1])))), ("pool", whole)))


def _averaged(blur: tree.BlurPool) -> tree.Node:
    down, right = blur.dilation
    average = tree.AveragePool((3, 3), blur.stride, blur.dilation)
    return tree.Chain((("pad", tree.Pad(((down, down), (right, right)))), ("pool", average)))


#: {what is wrong: the tree that is lowered instead}.
TREE_CHANGES: dict[str, TreeChange] = {
    "SAME padding at stride 2": every(tree.Conv, _same_where_strided),
    "symmetric instead of SAME max-pool": every(tree.MaxPool, lambda pool: replace(pool, padding=symmetric(3))),
    # For an odd height and an even width, "same" is ((1, 1), (0, 1)).
    "height and width swapped in the SAME rule": every(
        tree.MaxPool, lambda pool: replace(pool, padding=((0, 1), (1, 1)))
    ),
    "dilation lost": every(tree.Conv, _no_dilation),
    "wrong epsilon": every(tree.BatchNorm, lambda norm: replace(norm, epsilon=1e-3)),
    "wrong decay": every(tree.BatchNorm, lambda norm: replace(norm, decay=0.99)),
    "missing ReLU": every(tree.Residual, lambda block: replace(block, post=tree.Chain())),
    "channels padded at the end": every(tree.PadChannels, lambda leaf: tree.PadChannels(0, leaf.before + leaf.after)),
    "averaging instead of subsampling": every(tree.Subsample, lambda leaf: tree.AveragePool(leaf.stride, leaf.stride)),
    "projection reads the raw input": every(tree.Residual, _raw_shortcut),
    "standardization lost": every(tree.Conv, lambda conv: replace(conv, standardize=None)),
    "one group for all channels": every(tree.GroupNorm, lambda norm: replace(norm, groups=1)),
    "layer norm over the whole map": every(tree.LayerNorm, lambda norm: tree.GroupNorm(norm.channels, 1, norm.epsilon)),
    "frozen norm with another epsilon": every(tree.FrozenNorm, lambda norm: replace(norm, epsilon=1e-5)),
    "tanh for erf": every(
        tree.Activation,
        lambda leaf: tree.Activation("gelu_tanh") if leaf.function == "gelu" else leaf,
    ),
    "zeros beyond the edge are averaged": every(tree.AveragePool, _zeros_averaged),
    "averaging instead of blurring": every(tree.BlurPool, _averaged),
    "average instead of maximum": every(tree.GlobalMaxPool, lambda leaf: tree.GlobalAveragePool()),
    "a gate without a sigmoid": every(tree.Gate, lambda gate: replace(gate, body=tree.Chain(gate.body.children[:-1]))),
}


def _swapped(one: str, other: str) -> WeightChange:
    def partner(name: str) -> str:
        path, _, last = name.rpartition(".")
        return f"{path}.{ {one: other, other: one}.get(last, last) }"

    return lambda weights: {name: weights.get(partner(name), value) for name, value in weights.items()}


def _kernels(change: Callable[[np.ndarray], np.ndarray]) -> WeightChange:
    """Square kernels are handed over in a wrong layout."""

    def square(value: np.ndarray) -> bool:
        return value.ndim == 4 and value.shape[2] == value.shape[3] > 1

    return lambda weights: {
        name: np.ascontiguousarray(change(value)) if square(value) else value for name, value in weights.items()
    }


#: {what is wrong: the weights that are computed with instead}.
WEIGHT_CHANGES: dict[str, WeightChange] = {
    "swapped gamma and variance": _swapped("weight", "running_var"),
    "swapped beta and mean": _swapped("bias", "running_mean"),
    "kernels transposed": _kernels(lambda value: value.swapaxes(2, 3)),
    "kernels flipped": _kernels(lambda value: value[:, :, ::-1, ::-1]),
    "channel kernels flipped": lambda weights: {
        name: value[..., ::-1].copy() if value.ndim == 3 else value for name, value in weights.items()
    },
}
