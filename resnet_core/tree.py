"""The layer tree: a network with every number decided, before any framework sees it.

Twenty leaves and three combinators express every ResNet. A variant is a way of building the tree
(`architecture.py`); a backend is a way of lowering it (`backends/resnet_*/lowering.py`).

Shapes are (height, width, channels) of one image, or (channels,) after global pooling. Tensors are in
PyTorch's layout: convolutions (out, in / groups, height, width), linear (out, in).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Literal, NamedTuple, Self

from resnet_core.errors import InputError
from resnet_core.padding import Padding, Pair, output_size

Shape = tuple[int, ...]

#: What a tensor is for: a `kernel` multiplies the inputs, a `bias` is added to the result, a norm's `scale` and
#: `shift` act on each channel, and a `statistic` is state that is not trained.
Role = Literal["kernel", "bias", "scale", "shift", "statistic"]


class Tensor(NamedTuple):
    """One tensor of a leaf. Code that treats tensors differently looks at the role, not at the name.

    But for the two statistics, which are told apart by their names, `running_mean` and `running_var`. `start` is what a
    tensor is before it has learned anything, if nothing is drawn for it: 1 if it multiplies or divides, else 0.
    """

    shape: Shape
    role: Role
    start: float = 0.0


class Leaf:
    """A node that computes something. Frozen; leaves with equal numbers are equal."""

    __slots__ = ()

    def tensors(self) -> dict[str, Tensor]:
        """{last segment of the name: Tensor}, in file order. A leaf has at most one kernel; a bias belongs to it."""
        return {}

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the output for an input of `shape`. Raises InputError if the input does not fit."""
        return shape

    def macs(self, shape: Shape) -> int:
        """Multiply-accumulate operations for one input of `shape`; 0 except for convolutions and linear layers."""
        return 0


def _window(leaf: Conv | MaxPool | AveragePool, dilation: Pair, shape: Shape) -> Pair:
    size = output_size(leaf.padding, leaf.kernel, leaf.stride, dilation, (shape[0], shape[1]))
    if min(size) < 1:
        raise InputError(
            f"kernel {leaf.kernel[0]}x{leaf.kernel[1]} (dilation {dilation[0]}) is larger than its padded "
            f"input: received {shape[0]}x{shape[1]}, padding {leaf.padding}; use a larger image"
        )
    return size


def _kernel(shape: Shape, bias: bool) -> dict[str, Tensor]:
    weight = {"weight": Tensor(shape, "kernel")}
    return {**weight, "bias": Tensor(shape[:1], "bias")} if bias else weight


def _affine(channels: int, scale: Role = "scale", shift: Role = "shift") -> dict[str, Tensor]:
    return {"weight": Tensor((channels,), scale, 1.0), "bias": Tensor((channels,), shift)}


def _statistics(channels: int) -> dict[str, Tensor]:
    shape = (channels,)
    return {"running_mean": Tensor(shape, "statistic"), "running_var": Tensor(shape, "statistic", 1.0)}


@dataclass(frozen=True, slots=True)
class Conv(Leaf):
    """Two-dimensional convolution (cross-correlation, as in every framework).

    The trees of specs have integer padding, equal on both sides; a tree may also say "same" or pad unevenly, and every
    backend lowers that. With `standardize`, the kernel of each output channel is first given mean 0 and variance 1:
    (w - mean) / sqrt(variance + standardize), with the biased variance (Qiao et al. 2019, arXiv:1903.10520).

    With `dtype`, in a network of float32, its input and its kernel are rounded to that, and so is their convolution,
    before the bias is added; and backward, the gradient that comes in and the two that go out. The trees of specs have
    none (`precision.convolving_in`).
    """

    in_channels: int
    out_channels: int
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Padding = ((0, 0), (0, 0))
    dilation: Pair = (1, 1)
    groups: int = 1
    bias: bool = False
    standardize: float | None = None
    dtype: Literal["bfloat16"] | None = None

    def tensors(self) -> dict[str, Tensor]:
        return _kernel((self.out_channels, self.in_channels // self.groups, *self.kernel), self.bias)

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

    def tensors(self) -> dict[str, Tensor]:
        return {**_affine(self.channels), **_statistics(self.channels)}


@dataclass(frozen=True, slots=True)
class FrozenNorm(Leaf):
    """Normalization by statistics that never change, in training too; its scale and shift do not learn either.

    (torchvision's FrozenBatchNorm2d, which detectors use.)
    """

    channels: int
    epsilon: float

    def tensors(self) -> dict[str, Tensor]:
        return {**_affine(self.channels, "statistic", "statistic"), **_statistics(self.channels)}


@dataclass(frozen=True, slots=True)
class GroupNorm(Leaf):
    """Each image's mean and biased variance over the positions and the channels of a group (arXiv:1803.08494).

    A group is channels / groups neighboring channels.
    """

    channels: int
    groups: int
    epsilon: float

    def tensors(self) -> dict[str, Tensor]:
        return _affine(self.channels)


@dataclass(frozen=True, slots=True)
class LayerNorm(Leaf):
    """Mean and biased variance over the channels, at each position (as in ConvNeXt, arXiv:2201.03545)."""

    channels: int
    epsilon: float

    def tensors(self) -> dict[str, Tensor]:
        return _affine(self.channels)


#: Leaves that normalize.
NORMS = (BatchNorm, FrozenNorm, GroupNorm, LayerNorm)


@dataclass(frozen=True, slots=True)
class ReLU(Leaf):
    """max(x, 0), with derivative 0 at 0."""


#: The functions of `Activation`.
Function = Literal["relu6", "leaky_relu", "silu", "gelu", "gelu_tanh", "hardswish", "sigmoid"]

#: The slope of leaky_relu below 0.
NEGATIVE_SLOPE = 0.01


@dataclass(frozen=True, slots=True)
class Activation(Leaf):
    """Another function of each value; where it has no derivative, that of its left side holds.

    - `relu6`: min(max(x, 0), 6), with derivative 0 at 6 too
    - `leaky_relu`: x above 0, else NEGATIVE_SLOPE * x
    - `silu`: x * sigmoid(x)
    - `gelu`: x * (1 + erf(x / sqrt(2))) / 2
    - `gelu_tanh`: x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) / 2
    - `hardswish`: x * min(max(x + 3, 0), 6) / 6, with derivative 1 at 3
    - `sigmoid`: 1 / (1 + exp(-x))
    """

    function: Function


@dataclass(frozen=True, slots=True)
class MaxPool(Leaf):
    """Maximum of each window; the padding is minus infinity.

    If values in a window are equal, the first in row-major order gets the whole gradient.
    """

    kernel: Pair
    stride: Pair
    padding: Padding = ((0, 0), (0, 0))

    def output_shape(self, shape: Shape) -> Shape:
        return (*_window(self, (1, 1), shape), shape[2])


@dataclass(frozen=True, slots=True)
class AveragePool(Leaf):
    """Mean of each window; no padding, so every window is full.

    With `partial`, a window of 2x2 begins at every stride-th pixel, the last ones too, and those that reach over the
    edge have the mean of what they have inside: every k-th pixel of a dilated pool is the pool of every k-th pixel.
    """

    kernel: Pair
    stride: Pair
    dilation: Pair = (1, 1)
    partial: bool = False

    @property
    def padding(self) -> Padding:
        # Filled with what the window has inside: in a window of two, a value that counts twice changes no mean. The
        # second values of all windows are concat(x[d:], x[-d:]) along an axis, also where d is more than its length.
        return ((0, self.dilation[0]), (0, self.dilation[1])) if self.partial else ((0, 0), (0, 0))

    def output_shape(self, shape: Shape) -> Shape:
        return (*_window(self, self.dilation, shape), shape[2])


@dataclass(frozen=True, slots=True)
class BlurPool(Leaf):
    """Blur by the kernel (1, 2, 1) / 4 in both directions, then every stride-th pixel (Zhang 2019, arXiv:1904.11486).

    Beyond the edge, the image is reflected about its last pixel. With a dilation of d, each of the d * d images of
    every d-th pixel is blurred, and reflected, on its own.
    """

    stride: Pair
    dilation: Pair = (1, 1)

    def output_shape(self, shape: Shape) -> Shape:
        for size, dilation in zip(shape, self.dilation, strict=False):
            if size < 2 * dilation:
                raise InputError(
                    f"a blur reflects its input of {shape[0]}x{shape[1]}, of which {2 * dilation} pixels are needed in "
                    "each direction; use a larger image"
                )
        return (-(-shape[0] // self.stride[0]), -(-shape[1] // self.stride[1]), shape[2])


@dataclass(frozen=True, slots=True)
class Pad(Leaf):
    """Zeros around the image, ((top, bottom), (left, right)), as keras.applications has them before a pool."""

    padding: tuple[Pair, Pair]

    def output_shape(self, shape: Shape) -> Shape:
        (top, bottom), (left, right) = self.padding
        return (shape[0] + top + bottom, shape[1] + left + right, shape[2])


@dataclass(frozen=True, slots=True)
class Subsample(Leaf):
    """Every stride-th pixel, starting with the first."""

    stride: Pair

    def output_shape(self, shape: Shape) -> Shape:
        return (-(-shape[0] // self.stride[0]), -(-shape[1] // self.stride[1]), shape[2])


@dataclass(frozen=True, slots=True)
class PadChannels(Leaf):
    """Zero channels before and after the existing ones (He et al. 2015, option A)."""

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
class GlobalMaxPool(Leaf):
    """Maximum over height and width; of equal values, the first in row-major order gets the whole gradient."""

    def output_shape(self, shape: Shape) -> Shape:
        return shape[2:]


@dataclass(frozen=True, slots=True)
class GlobalConcatPool(Leaf):
    """The channels of GlobalAveragePool, then those of GlobalMaxPool (fastai's AdaptiveConcatPool2d has both)."""

    def output_shape(self, shape: Shape) -> Shape:
        return (2 * shape[2],)


@dataclass(frozen=True, slots=True)
class ChannelConv(Leaf):
    """Cross-correlation along the channels of a vector, with zeros beyond both ends (ECA, arXiv:1910.03151).

    The kernel's size is odd; there is no bias.
    """

    kernel: int

    def tensors(self) -> dict[str, Tensor]:
        return _kernel((1, 1, self.kernel), bias=False)

    def macs(self, shape: Shape) -> int:
        return prod(shape) * self.kernel


@dataclass(frozen=True, slots=True)
class Dropout(Leaf):
    """In training, each value is 0 with probability `rate`, else divided by 1 - rate (Srivastava et al. 2014)."""

    rate: float


@dataclass(frozen=True, slots=True)
class DropPath(Leaf):
    """In training, each image is 0 with probability `rate`, else divided by 1 - rate: stochastic depth.

    (Huang et al. 2016, arXiv:1603.09382; the division is that of later implementations.)
    """

    rate: float


@dataclass(frozen=True, slots=True)
class Linear(Leaf):
    """Affine map of the channels; with `dense`, at every position of an unpooled feature map."""

    in_features: int
    out_features: int
    bias: bool = True
    dense: bool = False

    def tensors(self) -> dict[str, Tensor]:
        return _kernel((self.out_features, self.in_features), self.bias)

    def output_shape(self, shape: Shape) -> Shape:
        return (*shape[:-1], self.out_features)

    def macs(self, shape: Shape) -> int:
        return prod(shape[:-1]) * self.in_features * self.out_features


class Combinator:
    """A node made of other nodes. Frozen, like a leaf.

    Code that walks, counts or rewrites a tree uses these three methods, so a new combinator needs no changes there.
    """

    __slots__ = ("_hash",)
    _hash: int

    def parts(self) -> tuple[tuple[str, Node], ...]:
        """(segment, node) of each part, in the order of computation and of names.

        A part's tensors are named `<path of this node>.<segment>.…`; an empty segment adds nothing.
        """
        raise NotImplementedError

    def with_parts(self, parts: Sequence[Node]) -> Self:
        """The same combinator with other parts, given in the order of `parts`."""
        raise NotImplementedError

    def output_shape(self, shape: Shape, parts: Sequence[Callable[[Shape], Shape]]) -> Shape:
        """Shape of the output for an input of `shape`, given each part's own shape function.

        Calls each function once, in order. Raises InputError if the parts' outputs do not fit together.
        """
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Chain(Combinator):
    """Named nodes, one after another; an empty chain is the identity."""

    children: tuple[tuple[str, Node], ...] = ()

    def parts(self) -> tuple[tuple[str, Node], ...]:
        return self.children

    def with_parts(self, parts: Sequence[Node]) -> Self:
        names = (name for name, _ in self.children)
        return replace(self, children=tuple(zip(names, parts, strict=True)))

    def output_shape(self, shape: Shape, parts: Sequence[Callable[[Shape], Shape]]) -> Shape:
        for part in parts:
            shape = part(shape)
        return shape

    def __hash__(self) -> int:
        # Cached, since caches and NNX hash whole trees. Not at construction: string hashes differ between processes,
        # and only fields are pickled and copied.
        try:
            return self._hash
        except AttributeError:
            object.__setattr__(self, "_hash", hash(self.children))
            return self._hash


@dataclass(frozen=True, slots=True)
class Residual(Combinator):
    """p = pre(x); y = post(body(p) + shortcut(p)).

    If the shortcut must read the raw input (an identity or subsampling in a pre-activation block), `pre` is empty
    and the first norm is in `body`. Of the four, only `shortcut` adds a segment to names: the children of pre, body
    and post appear directly under the block.
    """

    pre: Chain
    body: Chain
    shortcut: Chain
    post: Chain

    def parts(self) -> tuple[tuple[str, Node], ...]:
        return (("", self.pre), ("", self.body), ("shortcut", self.shortcut), ("", self.post))

    def with_parts(self, parts: Sequence[Node]) -> Self:
        chains = [part for part in parts if isinstance(part, Chain)]
        if len(chains) != len(parts):
            raise TypeError(f"Residual: received {', '.join(type(part).__name__ for part in parts)}; expected chains")
        pre, body, shortcut, post = chains
        return replace(self, pre=pre, body=body, shortcut=shortcut, post=post)

    def output_shape(self, shape: Shape, parts: Sequence[Callable[[Shape], Shape]]) -> Shape:
        pre, body, shortcut, post = parts
        activated = pre(shape)
        main, short = body(activated), shortcut(activated)
        if main != short:  # with a tree from architecture.py, only for an image that does not fit
            raise InputError(f"the body gives {main} and the shortcut {short}; they cannot be added")
        return post(main)


@dataclass(frozen=True, slots=True)
class Gate(Combinator):
    """y = x * body(x): the body gives one factor for each channel of each image, which all positions share."""

    body: Chain

    def parts(self) -> tuple[tuple[str, Node], ...]:
        return (("", self.body),)

    def with_parts(self, parts: Sequence[Node]) -> Self:
        (body,) = parts
        if not isinstance(body, Chain):
            raise TypeError(f"Gate: received {type(body).__name__}; expected a chain")
        return replace(self, body=body)

    def output_shape(self, shape: Shape, parts: Sequence[Callable[[Shape], Shape]]) -> Shape:
        (body,) = parts
        if (factors := body(shape)) != shape[-1:]:
            raise InputError(f"the gate gives {factors} for a map of {shape}; expected one factor for each channel")
        return shape


Node = Leaf | Combinator


def walk(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    """(dotted path, node) of `node` and every node below it, in the order of computation.

    A part with an empty segment has the path of its combinator.
    """
    yield path, node
    if isinstance(node, Combinator):
        for segment, part in node.parts():
            yield from walk(part, join(path, segment))


def leaves(node: Node, path: str = "") -> Iterator[tuple[str, Leaf]]:
    """(dotted path, leaf) of every leaf below `node`, in the order of computation."""
    return ((place, found) for place, found in walk(node, path) if isinstance(found, Leaf))


def join(path: str, segment: str) -> str:
    """The dotted path of a part."""
    return f"{path}.{segment}" if path and segment else path or segment
