"""The layer tree as a plan for `network.js`: every number that the browser needs, and its weights as float16."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from resnet_core import tree
from resnet_core.analysis import Layer, trace
from resnet_core.errors import InputError
from resnet_core.padding import resolve
from resnet_core.weights import Weights

#: The leaves that `network.js` runs. What only training needs is not in a folded tree.
RUN = (
    tree.Conv, tree.BatchNorm, tree.FrozenNorm, tree.GroupNorm, tree.LayerNorm, tree.ReLU, tree.Activation,
    tree.MaxPool, tree.AveragePool, tree.BlurPool, tree.Pad, tree.Subsample, tree.PadChannels, tree.GlobalAveragePool,
    tree.GlobalMaxPool, tree.GlobalConcatPool, tree.ChannelConv, tree.Linear,
)  # fmt: skip

#: From here on a value rounds to infinity in float16.
_OVERFLOW = 65520.0


def lower(root: tree.Chain, shape: tree.Shape) -> dict[str, Any]:
    """The plan of a folded tree for images of `shape`, as plain values.

    Each leaf has its fields, its output's shape, its padding in numbers, and of each tensor (name, first, end) among
    the values of `stored`. Raises InputError, naming it, for a leaf that the page's network does not run.
    """
    found, _ = trace(root, shape)
    return {"input": list(shape), "root": _Lowering({layer.path: layer for layer in found}).node(root, "")}


class _Lowering:
    def __init__(self, layers: Mapping[str, Layer]) -> None:
        self.layers, self.end = layers, 0

    def node(self, node: tree.Node, path: str) -> dict[str, Any]:
        kind = {"kind": type(node).__name__, "path": path}
        match node:
            case tree.Chain():
                return {**kind, "parts": self.parts(node, path)}
            case tree.Residual():
                named = {"pre": node.pre, "body": node.body, "shortcut": node.shortcut, "post": node.post}
                places = {"shortcut": tree.join(path, "shortcut")}
                return {**kind, **{name: self.parts(part, places.get(name, path)) for name, part in named.items()}}
            case tree.Gate():
                return {**kind, "body": self.parts(node.body, path)}
        if not isinstance(node, RUN) or (isinstance(node, tree.Conv) and node.standardize is not None):
            raise InputError(f"{path}: a page's network does not run {type(node).__name__}")
        return {**kind, **self.leaf(node, path)}

    def parts(self, chain: tree.Chain, path: str) -> list[dict[str, Any]]:
        return [self.node(child, tree.join(path, name)) for name, child in chain.children]

    def leaf(self, leaf: tree.Leaf, path: str) -> dict[str, Any]:
        layer = self.layers[path]
        fields: dict[str, Any] = {**asdict(leaf), "shape": layer.output_shape}  # type: ignore[call-overload]
        if isinstance(leaf, tree.Conv | tree.MaxPool):
            dilation = leaf.dilation if isinstance(leaf, tree.Conv) else (1, 1)
            size = (layer.input_shape[0], layer.input_shape[1])
            fields["padding"] = resolve(leaf.padding, leaf.kernel, leaf.stride, dilation, size)
        if isinstance(leaf, tree.Activation):
            fields["slope"] = tree.NEGATIVE_SLOPE
        fields["tensors"] = [self.tensor(name, tensor) for name, tensor in leaf.tensors().items()]
        return {name: value for name, value in fields.items() if value is not None}

    def tensor(self, name: str, tensor: tree.Tensor) -> tuple[str, int, int]:
        first = self.end
        self.end += int(np.prod(tensor.shape))
        return name, first, self.end


def rounded(root: tree.Chain, weights: Mapping[str, np.ndarray]) -> Weights:
    """The weights of a folded tree, in its order, as float16. Raises InputError for what that cannot hold."""
    found: Weights = {}
    for path, leaf in tree.leaves(root):
        for tensor in leaf.tensors():
            name = tree.join(path, tensor)
            if (most := float(np.abs(weights[name]).max(initial=0.0))) >= _OVERFLOW:
                raise InputError(f"{name}: holds {most:.6g}, and float16 ends at 65504")
            found[name] = weights[name].astype(np.float16)
    return found


def stored(weights: Mapping[str, np.ndarray]) -> str:
    """The rounded weights one after another, in base64."""
    return base64.b64encode(b"".join(array.astype("<f2").tobytes() for array in weights.values())).decode()
