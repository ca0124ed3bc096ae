"""Layers that Flax has no module for. Feature maps are (batch, height, width, channels)."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax

from resnet_core.padding import Pair
from resnet_core.training.running_variance import group_weights
from resnet_core.windows import blurred, dilated_average, partial_average
from resnet_flax.convolution import conv_general_dilated
from resnet_flax.normalization import BatchNorm


def in_bfloat16(inputs: Array, kernel: Array, *others: Any, **keywords: Any) -> Array:
    """`conv_general_dilated` of values with bfloat16's digits in a network of float32.

    Where float32 is cast to bfloat16 and back, XLA leaves both out, but never a `reduce_precision`. On a CPU it has no
    products of bfloat16 that would be faster.
    """
    dtype = inputs.dtype if jax.default_backend() == "cpu" else jnp.bfloat16
    given = (lax.reduce_precision(array, exponent_bits=8, mantissa_bits=7).astype(dtype) for array in (inputs, kernel))
    y = conv_general_dilated(*given, *others, **keywords).astype(inputs.dtype)
    return lax.reduce_precision(y, exponent_bits=8, mantissa_bits=7)


#: In place of XLA's own, some of which it computes slowly; by the dtype if a convolution has its own.
CONVOLUTIONS: dict[str | None, Any] = {None: conv_general_dilated, "bfloat16": in_bfloat16}


class StandardizedConv(nnx.Conv):
    """A convolution whose kernel has mean 0 and variance 1 in each output channel, with the biased variance."""

    def __init__(self, *given: Any, standardize: float, conv_general_dilated: Any, **settings: Any) -> None:
        convolution = partial(_standardized, conv_general_dilated, standardize)
        super().__init__(*given, conv_general_dilated=convolution, **settings)


def _standardized(convolution: Any, epsilon: float, inputs: Array, kernel: Array, *given: Any, **named: Any) -> Array:
    axes = (0, 1, 2)
    centered = kernel - kernel.mean(axes, keepdims=True)
    kernel = centered / jnp.sqrt((centered**2).mean(axes, keepdims=True) + epsilon)
    return convolution(inputs, kernel, *given, **named)  # type: ignore[no-any-return]


class FrozenNorm(nnx.Module):
    """Normalization by constants, in training too: all four are statistics, which no optimizer sees."""

    def __init__(self, channels: int, epsilon: float, dtype: str) -> None:
        self.epsilon = epsilon
        for name in ("scale", "bias", "mean", "var"):
            setattr(self, name, nnx.BatchStat(jnp.zeros(channels, dtype)))

    def __call__(self, x: Array) -> Array:
        mean, var = self.mean.get_value(), self.var.get_value()
        return (x - mean) * (self.scale.get_value() / jnp.sqrt(var + self.epsilon)) + self.bias.get_value()


class GroupedBatchNorm(BatchNorm):
    """In training, each `rows` images of a batch by their own statistics; running ones learn from group after group.

    It has the same state, so that an existing norm can be converted by changing its class.
    """

    rows: int

    def __call__(self, x: Array, use_running_average: bool | None = None, *, mask: Array | None = None) -> Array:
        evaluating = self.use_running_average if use_running_average is None else use_running_average
        if evaluating is not False:
            return super().__call__(x, use_running_average, mask=mask)
        values = x.reshape(-1, self.rows * x.shape[1] * x.shape[2], x.shape[-1])
        groups, count, channels = values.shape
        ones = jnp.ones((groups, count), x.dtype)  # sums as products, as in `BatchNorm`
        total = partial(jnp.einsum, "gn,gnc->gc", ones, precision=jax.lax.Precision.HIGHEST)
        spread = partial(jnp.einsum, "gn,gc->gnc", ones, precision=jax.lax.Precision.HIGHEST)
        means = total(values) / count
        centered = values - spread(means)
        variances = total(centered**2) / count
        weights = jnp.asarray(group_weights(self.momentum, groups), x.dtype)
        for statistic, found in ((self.mean, means), (self.var, variances)):
            kept = self.momentum**groups * statistic.get_value()
            statistic.set_value(jax.lax.stop_gradient(kept + weights @ found))
        factors = self.scale.get_value() * jax.lax.rsqrt(variances + self.epsilon)
        shifts = jnp.broadcast_to(self.bias.get_value(), (groups, channels))
        return (centered * spread(factors) + spread(shifts)).reshape(x.shape)


class DilatedAveragePool(nnx.Module):
    """Mean of windows whose pixels are `dilation` apart; every window is full."""

    def __init__(self, kernel: Pair, stride: Pair, dilation: Pair) -> None:
        self.kernel, self.stride, self.dilation = kernel, stride, dilation

    def __call__(self, x: Array) -> Array:
        return cast(Array, dilated_average(x, 1, self.kernel, self.stride, self.dilation))


class PartialAveragePool(nnx.Module):
    """Windows of two by two whose second pixel is `dilation` further on, or left out where the image ends."""

    def __init__(self, stride: Pair, dilation: Pair) -> None:
        self.stride, self.dilation = stride, dilation

    def __call__(self, x: Array) -> Array:
        return cast(Array, partial_average(x, 1, self.stride, self.dilation, jnp.concatenate))


class BlurPool(nnx.Module):
    """(1, 2, 1) / 4 along both axes, reflected at the edges, then every stride-th pixel."""

    def __init__(self, stride: Pair, dilation: Pair) -> None:
        self.stride, self.dilation = stride, dilation

    def __call__(self, x: Array) -> Array:
        return cast(Array, blurred(x, 1, self.stride, self.dilation, jnp.concatenate))


class Subsample(nnx.Module):
    """Every stride-th pixel."""

    def __init__(self, stride: Pair) -> None:
        self.stride = stride

    def __call__(self, x: Array) -> Array:
        return x[:, :: self.stride[0], :: self.stride[1], :]


class PadChannels(nnx.Module):
    """Zero channels before and after the present ones."""

    def __init__(self, before: int, after: int) -> None:
        self.before, self.after = before, after

    def __call__(self, x: Array) -> Array:
        return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (self.before, self.after)))


class GlobalMaxPool(nnx.Module):
    """Maximum over height and width. (jnp.max would share a gradient among equal values.)"""

    def __call__(self, x: Array) -> Array:
        flat = x.reshape(x.shape[0], -1, x.shape[-1])
        return jnp.take_along_axis(flat, flat.argmax(1, keepdims=True), 1)[:, 0]


class GlobalConcatPool(nnx.Module):
    """Mean over height and width, then maximum."""

    def __init__(self) -> None:
        self.maximum = GlobalMaxPool()

    def __call__(self, x: Array) -> Array:
        return jnp.concatenate([x.mean((1, 2)), self.maximum(x)], -1)


class ChannelConv(nnx.Conv):
    """A convolution along the channels of (batch, channels)."""

    def __call__(self, inputs: Array) -> Array:  # type: ignore[override]
        return super().__call__(inputs[..., None])[..., 0]


class DropPath(nnx.Dropout):
    """Drops whole images of a batch in training: stochastic depth."""

    def __call__(self, x: Array) -> Array:  # type: ignore[override]
        if self.deterministic:
            return x
        return x * super().__call__(jnp.ones((x.shape[0], *(1,) * (x.ndim - 1)), x.dtype))


def draw_apart(model: nnx.Module) -> None:
    """Gives each random layer a stream of random numbers of its own; `nnx.reseed(model, dropout=…)` gives others."""
    if layers := [layer for _, layer in nnx.iter_graph(model) if isinstance(layer, nnx.Dropout)]:
        rngs = nnx.Rngs(dropout=0)
        for layer in layers:
            layer.rngs = rngs.dropout.fork()
