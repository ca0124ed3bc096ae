"""Layers that PyTorch has no module for. Feature maps are (batch, channels, height, width)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from resnet_core.padding import Padding, Pair, resolve
from resnet_core.windows import blurred, dilated_average, partial_average


class StandardizedConv2d(nn.Conv2d):
    """A convolution whose kernel has mean 0 and variance 1 in each output channel, with the biased variance."""

    epsilon: float

    def standardized(self) -> Tensor:
        """The kernel that is applied."""
        variance, mean = torch.var_mean(self.weight, (1, 2, 3), correction=0, keepdim=True)
        return (self.weight - mean) / torch.sqrt(variance + self.epsilon)

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.standardized(), self.bias)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, epsilon={self.epsilon}"  # type: ignore[no-untyped-call]


class Bfloat16Conv2d(nn.Conv2d):
    """A convolution of bfloat16 tensors in a network of float32; the bias is added in float32."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        y = super()._conv_forward(input.bfloat16(), weight.bfloat16(), None).to(input.dtype)
        return y if bias is None else y + bias[:, None, None]


@fx.wrap  # a size decides: torch.fx keeps the call and does not look into it
def _padded(x: Tensor, padding: Padding, kernel: object, stride: object, dilation: object, value: float) -> Tensor:
    size = (x.shape[2], x.shape[3])
    pads = resolve(padding, cast(Pair, kernel), cast(Pair, stride), cast(Pair, dilation), size)
    (top, bottom), (left, right) = pads
    return functional.pad(x, (left, right, top, bottom), value=value)


class PaddedConv2d(nn.Conv2d):
    """A convolution whose padding depends on the input's size or differs between the sides."""

    tree_padding: Padding

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(_padded(input, self.tree_padding, self.kernel_size, self.stride, self.dilation, 0.0))


class PaddedStandardizedConv2d(PaddedConv2d, StandardizedConv2d):
    """Both."""


class Bfloat16StandardizedConv2d(StandardizedConv2d, Bfloat16Conv2d):
    """Both."""


class Bfloat16PaddedConv2d(PaddedConv2d, Bfloat16Conv2d):
    """Both."""


class Bfloat16PaddedStandardizedConv2d(PaddedConv2d, Bfloat16StandardizedConv2d):
    """All three."""


#: By whether the padding is one that PyTorch lacks, whether kernels are standardized, and the dtype if it has its own.
CONVOLUTIONS: dict[tuple[bool, bool, str | None], type[nn.Conv2d]] = {
    (False, False, None): nn.Conv2d,
    (False, True, None): StandardizedConv2d,
    (True, False, None): PaddedConv2d,
    (True, True, None): PaddedStandardizedConv2d,
    (False, False, "bfloat16"): Bfloat16Conv2d,
    (False, True, "bfloat16"): Bfloat16StandardizedConv2d,
    (True, False, "bfloat16"): Bfloat16PaddedConv2d,
    (True, True, "bfloat16"): Bfloat16PaddedStandardizedConv2d,
}


class FrozenBatchNorm2d(nn.Module):
    """Normalization by constants, in training too: all four tensors are buffers."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon
        for name in ("weight", "bias", "running_mean", "running_var"):
            self.register_buffer(name, torch.empty(channels))

    def forward(self, x: Tensor) -> Tensor:
        weight, bias, mean, variance = self.weight, self.bias, self.running_mean, self.running_var
        return functional.batch_norm(x, mean, variance, weight, bias, training=False, eps=self.epsilon)

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, epsilon={self.epsilon}"


class GroupedBatchNorm2d(nn.BatchNorm2d):
    """In training, each `rows` images of a batch by their own statistics; running ones learn from group after group.

    It has the same state, so that an existing norm can be converted by changing its class.
    """

    rows: int

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        groups = input.chunk(len(input) // self.rows)
        return torch.cat([super(GroupedBatchNorm2d, self).forward(group) for group in groups])


class LayerNorm2d(nn.LayerNorm):
    """A layer norm over the channels of each position (nn.LayerNorm acts on the last axis)."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.movedim(1, -1)).movedim(-1, 1)


class PaddedMaxPool2d(nn.MaxPool2d):
    """A max-pool whose padding depends on the input's size or differs between the sides; it never wins."""

    tree_padding: Padding

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(_padded(input, self.tree_padding, self.kernel_size, self.stride, (1, 1), -torch.inf))


class DilatedAvgPool2d(nn.Module):
    """Mean of windows whose pixels are `dilation` apart; every window is full."""

    def __init__(self, kernel: Pair, stride: Pair, dilation: Pair) -> None:
        super().__init__()
        self.kernel, self.stride, self.dilation = kernel, stride, dilation

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, dilated_average(x, 2, self.kernel, self.stride, self.dilation))


class PartialAvgPool2d(nn.Module):
    """Windows of two by two whose second pixel is `dilation` further on, or left out where the image ends."""

    def __init__(self, stride: Pair, dilation: Pair) -> None:
        super().__init__()
        self.stride, self.dilation = stride, dilation

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, partial_average(x, 2, self.stride, self.dilation, torch.cat))

    def extra_repr(self) -> str:
        return f"stride={self.stride}, dilation={self.dilation}"


class BlurPool2d(nn.Module):
    """(1, 2, 1) / 4 along both axes, reflected at the edges, then every stride-th pixel."""

    def __init__(self, stride: Pair, dilation: Pair) -> None:
        super().__init__()
        self.stride, self.dilation = stride, dilation

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, blurred(x, 2, self.stride, self.dilation, torch.cat))

    def extra_repr(self) -> str:
        return f"stride={self.stride}, dilation={self.dilation}"


class Subsample(nn.Module):
    """Every stride-th pixel."""

    def __init__(self, stride: Pair) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, :: self.stride[0], :: self.stride[1]]

    def extra_repr(self) -> str:
        return f"stride={self.stride}"


class PadChannels(nn.Module):
    """Zero channels before and after the present ones."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.before, self.after = before, after

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x, (0, 0, 0, 0, self.before, self.after))

    def extra_repr(self) -> str:
        return f"before={self.before}, after={self.after}"


class GlobalMaxPool(nn.Module):
    """Maximum over height and width. (torch.amax would share a gradient among equal values.)"""

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2)
        return flat.gather(2, flat.argmax(2, keepdim=True)).squeeze(2)


class GlobalConcatPool(nn.Module):
    """Mean over height and width, then maximum."""

    def __init__(self) -> None:
        super().__init__()
        self.maximum = GlobalMaxPool()

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.mean((2, 3)), self.maximum(x)], 1)


class ChannelConv(nn.Conv1d):
    """A convolution along the channels of (batch, channels)."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input[:, None])[:, 0]


class DropPath(nn.Module):
    """Drops whole images of a batch in training: stochastic depth."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return x * functional.dropout(x.new_ones((x.shape[0],) + (1,) * (x.ndim - 1)), self.rate)

    def extra_repr(self) -> str:
        return f"rate={self.rate}"
