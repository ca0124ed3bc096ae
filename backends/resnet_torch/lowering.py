"""Tree nodes to PyTorch modules, one case each. Feature maps are (batch, channels, height, width)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from typing import cast

from torch import Tensor, nn

from resnet_core import tree
from resnet_core.errors import InputError
from resnet_core.padding import Padding, Pair
from resnet_core.tap_paths import Record
from resnet_torch.layers import (
    CONVOLUTIONS,
    BlurPool2d,
    ChannelConv,
    DilatedAvgPool2d,
    DropPath,
    FrozenBatchNorm2d,
    GlobalConcatPool,
    GlobalMaxPool,
    LayerNorm2d,
    PadChannels,
    PaddedConv2d,
    PaddedMaxPool2d,
    PartialAvgPool2d,
    StandardizedConv2d,
    Subsample,
)


def lower(node: tree.Node) -> nn.Module:
    """The module of one node. Parameters have no values yet."""
    match node:
        case tree.Chain():
            return nn.Sequential(OrderedDict((name, lower(child)) for name, child in node.children))
        case tree.Residual():
            return Residual(node)
        case tree.Gate():
            return Gate(node)
        case tree.Conv():
            return _conv(node)
        case tree.BatchNorm():
            # PyTorch's momentum is the weight of the NEW value; rounding undoes 1 - 0.9 = 0.09999999999999998.
            momentum = round(1 - node.decay, 15)
            return nn.BatchNorm2d(
                node.channels, eps=node.epsilon, momentum=momentum, affine=True, track_running_stats=True
            )
        case tree.FrozenNorm():
            return FrozenBatchNorm2d(node.channels, node.epsilon)
        case tree.GroupNorm():
            return nn.GroupNorm(node.groups, node.channels, eps=node.epsilon, affine=True)
        case tree.LayerNorm():
            return LayerNorm2d(node.channels, eps=node.epsilon, elementwise_affine=True, bias=True)
        case tree.ReLU():
            # In place, as torchvision does: every ReLU of a tree follows a norm, an addition, a pool or a layer with
            # weights, so that its input belongs to nobody else.
            return nn.ReLU(inplace=True)
        case tree.Activation():
            return ACTIVATIONS[node.function]()
        case tree.MaxPool():
            return _max_pool(node)
        case tree.AveragePool():
            return _average_pool(node)
        case tree.BlurPool():
            return BlurPool2d(node.stride, node.dilation)
        case tree.Pad():
            (top, bottom), (left, right) = node.padding
            return nn.ZeroPad2d((left, right, top, bottom))
        case tree.Subsample():
            return Subsample(node.stride)
        case tree.PadChannels():
            return PadChannels(node.before, node.after)
        case tree.GlobalAveragePool():
            return GlobalAveragePool()
        case tree.GlobalMaxPool():
            return GlobalMaxPool()
        case tree.GlobalConcatPool():
            return GlobalConcatPool()
        case tree.ChannelConv():
            return ChannelConv(1, 1, node.kernel, padding=node.kernel // 2, bias=False)
        case tree.Dropout():
            return nn.Dropout(node.rate, inplace=False)
        case tree.DropPath():
            return DropPath(node.rate)
        case tree.Linear():
            linear = DenseLinear if node.dense else nn.Linear
            return linear(node.in_features, node.out_features, bias=node.bias)
    raise InputError(f"backend torch has no lowering for {type(node).__name__}; use another backend")


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu6": nn.ReLU6,
    "leaky_relu": partial(nn.LeakyReLU, negative_slope=tree.NEGATIVE_SLOPE),
    "silu": nn.SiLU,
    "gelu": partial(nn.GELU, approximate="none"),
    "gelu_tanh": partial(nn.GELU, approximate="tanh"),
    "hardswish": nn.Hardswish,
    "sigmoid": nn.Sigmoid,
}


class Residual(nn.Module):
    """post(body(p) + shortcut(p)) with p = pre(x). The children of all parts but the shortcut stand directly here."""

    def __init__(self, node: tree.Residual) -> None:
        super().__init__()
        for chain in (node.pre, node.body):
            for name, child in chain.children:
                self.add_module(name, lower(child))
        self.shortcut = lower(node.shortcut) if node.shortcut.children else nn.Identity()
        for name, child in node.post.children:
            self.add_module(name, lower(child))
        # What a convolution or a norm returns is nobody else's, and its gradient does not need it.
        self.own_output = bool(node.body.children) and isinstance(node.body.children[-1][1], (tree.Conv, *tree.NORMS))
        self.pre, self.body, self.post = (
            tuple(name for name, _ in chain.children) for chain in (node.pre, node.body, node.post)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self._run(x)

    def _run(self, x: Tensor, record: Record | None = None) -> Tensor:
        x = run(self, self.pre, x, record)
        y = run(self, self.body, x, record)
        shortcut = run(self, ("shortcut",), x, record)
        if self.own_output:
            y += shortcut  # in place, as torchvision does
        else:
            y = y + shortcut
        return run(self, self.post, y, record)


class Gate(nn.Sequential):
    """x * factors: the modules give one factor for each channel of each image."""

    def __init__(self, node: tree.Gate) -> None:
        super().__init__(OrderedDict((name, lower(child)) for name, child in node.body.children))

    def forward(self, input: Tensor) -> Tensor:
        return self._run(input)

    def _run(self, x: Tensor, record: Record | None = None) -> Tensor:
        factors = run(self, self._modules, x, record)
        return x * factors.reshape(factors.shape + (1,) * (x.ndim - factors.ndim))


def run(module: nn.Module, names: Iterable[str], x: Tensor, record: Record | None) -> Tensor:
    """The output of a module's children, one after the other; the record keeps what is wanted of theirs."""
    for name in names:
        child = cast(nn.Module, module._modules[name])
        inside = None if record is None else record.inside(name)
        x = child(x) if inside is None else child(x, inside)
        if record is not None and name in record.wanted:
            record.keep(name, x.clone())  # what follows may work in place
    return x


class TappedSequential(nn.Sequential):
    """nn.Sequential of which outputs on the way are wanted."""

    def forward(self, input: Tensor, record: Record) -> Tensor:  # type: ignore[override]
        return run(self, self._modules, input, record)


class TappedResidual(Residual):
    """Residual of which outputs on the way are wanted."""

    def forward(self, x: Tensor, record: Record) -> Tensor:  # type: ignore[override]
        return self._run(x, record)


class TappedGate(Gate):
    """Gate of which outputs on the way are wanted."""

    def forward(self, input: Tensor, record: Record) -> Tensor:  # type: ignore[override]
        return self._run(input, record)


#: What a module becomes by taps inside it. All others are left as they are, to be traced and scripted without a record.
TAPPED: dict[type, type] = {nn.Sequential: TappedSequential, Residual: TappedResidual, Gate: TappedGate}


def tap(module: nn.Module, path: str) -> None:
    """Let every module around `path` take a record of what is wanted inside it."""
    for name in path.split(".")[:-1]:
        module = cast(nn.Module, module._modules[name])
        module.__class__ = TAPPED.get(type(module), type(module))


def _average_pool(node: tree.AveragePool) -> nn.Module:
    if not node.partial and node.dilation == (1, 1):
        return nn.AvgPool2d(node.kernel, node.stride, padding=0)
    if not node.partial:
        return DilatedAvgPool2d(node.kernel, node.stride, node.dilation)
    if node.dilation == (1, 1) and node.stride[0] == node.stride[1] == 2:
        return nn.AvgPool2d(node.kernel, node.stride, padding=0, ceil_mode=True, count_include_pad=False)
    return PartialAvgPool2d(node.stride, node.dilation)


def _conv(node: tree.Conv) -> nn.Module:
    symmetric = _symmetric(node.padding)
    standardized = node.standardize is not None
    convolution = CONVOLUTIONS[symmetric is None, standardized, node.dtype]
    module = convolution(
        node.in_channels,
        node.out_channels,
        node.kernel,
        stride=node.stride,
        padding=symmetric or (0, 0),
        dilation=node.dilation,
        groups=node.groups,
        bias=node.bias,
    )
    if symmetric is None:
        cast(PaddedConv2d, module).tree_padding = node.padding
    if node.standardize is not None:
        cast(StandardizedConv2d, module).epsilon = node.standardize
    return module


def _max_pool(node: tree.MaxPool) -> nn.Module:
    symmetric = _symmetric(node.padding)
    if symmetric is not None:
        return nn.MaxPool2d(node.kernel, node.stride, padding=symmetric)
    module = PaddedMaxPool2d(node.kernel, node.stride, padding=0)
    module.tree_padding = node.padding
    return module


def _symmetric(padding: Padding) -> Pair | None:
    if padding == "same" or any(before != after for before, after in padding):
        return None  # PyTorch's layers pad both sides alike
    return padding[0][0], padding[1][0]


class GlobalAveragePool(nn.Module):
    """Mean over height and width (nn.AdaptiveAvgPool2d has no deterministic gradient on CUDA)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


class DenseLinear(nn.Linear):
    """A linear layer of the channels at every position (nn.Linear acts on the last axis)."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.movedim(1, -1)).movedim(-1, 1)
