"""The layer tree: what a network IS, with every number decided, before any framework sees it.

Twelve leaves and two combinators say every ResNet. A variant is a way of building the tree
(`architecture.py`); a backend is a way of lowering it (`backends/resnet_*/lowering.py`).

Shapes are (height, width, channels) of one image, or (channels,) after global pooling. Tensors are in
PyTorch's layout: convolutions (out, in / groups, height, width), linear (out, in).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from resnet_core.errors import InputError
from resnet_core.padding import Padding, Pair, output_size

Shape = tuple[int, ...]

#: Tensors that are state but not trained: BatchNorm's running statistics.
STATISTICS = ("running_mean", "running_var")


class Leaf:
    """A node that computes something. Frozen: equal numbers are equal leaves."""

    __slots__ = ()

    def tensors(self) -> dict[str, Shape]:
        """Names (last segment only) and shapes of the leaf's tensors, in file order."""
        return {}

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the output for an input of `shape`; InputError where there is none."""
        return shape

    def macs(self, shape: Shape) -> int:
        """Multiply-accumulates for one image of input `shape`; convolutions and linear layers only."""
        return 0


def _window(leaf: Conv | MaxPool | AveragePool, dilation: Pair, shape: Shape) -> Pair:
    size = output_size(leaf.padding, leaf.kernel, leaf.stride, dilation, (shape[0], shape[1]))
    if min(size) < 1:
        raise InputError(
            f"kernel {leaf.kernel[0]}x{leaf.kernel[1]} (dilation {dilation[0]}) is larger than its padded "
            f"input: received {shape[0]}x{shape[1]}, padding {leaf.padding}; use a larger image"
        )
    return size


@dataclass(frozen=True, slots=True)
class Conv(Leaf):
    """Two-dimensional convolution (cross-correlation, as in every framework)."""

    in_channels: int
    out_channels: int
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Padding = ((0, 0), (0, 0))
    dilation: Pair = (1, 1)
    groups: int = 1
    bias: bool = False

    def tensors(self) -> dict[str, Shape]:
        weight = (self.out_channels, self.in_channels // self.groups, *self.kernel)
        return {"weight": weight, "bias": (self.out_channels,)} if self.bias else {"weight": weight}

    def output_shape(self, shape: Shape) -> Shape:
        return (*_window(self, self.dilation, shape), self.out_channels)

    def macs(self, shape: Shape) -> int:
        return prod(self.output_shape(shape)) * prod(self.kernel) * self.in_channels // self.groups


@dataclass(frozen=True, slots=True)
class BatchNorm(Leaf):
    """Batch normalization over (batch, height, width). `decay` is the weight of the OLD running value."""

    channels: int
    epsilon: float
    decay: float

    def tensors(self) -> dict[str, Shape]:
        return dict.fromkeys(("weight", "bias", *STATISTICS), (self.channels,))


@dataclass(frozen=True, slots=True)
class ReLU(Leaf):
    """max(x, 0), with derivative 0 at 0."""


@dataclass(frozen=True, slots=True)
class MaxPool(Leaf):
    """Largest value of each window; the padding never wins (minus infinity)."""

    kernel: Pair
    stride: Pair
    padding: Padding = ((0, 0), (0, 0))

    def output_shape(self, shape: Shape) -> Shape:
        return (*_window(self, (1, 1), shape), shape[2])


@dataclass(frozen=True, slots=True)
class AveragePool(Leaf):
    """Mean of each window; no padding, so every window is full."""

    kernel: Pair
    stride: Pair

    @property
    def padding(self) -> Padding:
        return ((0, 0), (0, 0))

    def output_shape(self, shape: Shape) -> Shape:
        return (*_window(self, (1, 1), shape), shape[2])


@dataclass(frozen=True, slots=True)
class Pad(Leaf):
    """Zeros around the image, ((top, bottom), (left, right)): what keras.applications puts before a pool."""

    padding: tuple[Pair, Pair]

    def output_shape(self, shape: Shape) -> Shape:
        (top, bottom), (left, right) = self.padding
        return (shape[0] + top + bottom, shape[1] + left + right, shape[2])


@dataclass(frozen=True, slots=True)
class Subsample(Leaf):
    """Every stride-th pixel, from the first."""

    stride: Pair

    def output_shape(self, shape: Shape) -> Shape:
        return (-(-shape[0] // self.stride[0]), -(-shape[1] // self.stride[1]), shape[2])


@dataclass(frozen=True, slots=True)
class PadChannels(Leaf):
    """Zero channels before and after the present ones (He et al. 2015, option A)."""

    before: int
    after: int

    def output_shape(self, shape: Shape) -> Shape:
        return (*shape[:2], shape[2] + self.before + self.after)


@dataclass(frozen=True, slots=True)
class GlobalAveragePool(Leaf):
    """Mean over height and width."""

    def output_shape(self, shape: Shape) -> Shape:
        return shape[2:]


@dataclass(frozen=True, slots=True)
class Linear(Leaf):
    """Affine map of the channels; with `dense`, at every position of an unpooled image."""

    in_features: int
    out_features: int
    bias: bool = True
    dense: bool = False

    def tensors(self) -> dict[str, Shape]:
        weight = (self.out_features, self.in_features)
        return {"weight": weight, "bias": (self.out_features,)} if self.bias else {"weight": weight}

    def output_shape(self, shape: Shape) -> Shape:
        return (*shape[:-1], self.out_features)

    def macs(self, shape: Shape) -> int:
        return prod(shape[:-1]) * self.in_features * self.out_features


@dataclass(frozen=True, slots=True)
class Chain:
    """Named nodes, one after the other; empty, it is the identity."""

    children: tuple[tuple[str, Node], ...] = ()


@dataclass(frozen=True, slots=True)
class Residual:
    """p = pre(x); y = post(body(p) + shortcut(p)).

    Where the shortcut must read the raw input (an identity or a subsampling ahead of a pre-activation),
    `pre` is empty and the first norm stands in `body`. In names, pre, body and post add no segment: their
    children stand directly in the block; only `shortcut` does.
    """

    pre: Chain
    body: Chain
    shortcut: Chain
    post: Chain

    def parts(self) -> tuple[tuple[str, Chain], ...]:
        """(name prefix, chain) in the order of computation and of names."""
        return (("", self.pre), ("", self.body), ("shortcut.", self.shortcut), ("", self.post))


Node = Leaf | Chain | Residual


def leaves(node: Node, path: str = "") -> Iterator[tuple[str, Leaf]]:
    """(dotted path, leaf) of every leaf below `node`, in the order of computation."""
    if isinstance(node, Leaf):
        yield path, node
        return
    prefix = f"{path}." if path else ""
    parts = node.parts() if isinstance(node, Residual) else (("", node),)
    for segment, chain in parts:
        for name, child in chain.children:
            yield from leaves(child, f"{prefix}{segment}{name}")
