"""Tree nodes to NNX modules, one case each. Feature maps are (batch, height, width, channels)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from resnet_core import tree
from resnet_core.errors import InputError
from resnet_core.padding import Padding, Pair
from resnet_core.tap_paths import Record
from resnet_flax.layers import (
    CONVOLUTIONS,
    BlurPool,
    ChannelConv,
    DilatedAveragePool,
    DropPath,
    FrozenNorm,
    GlobalConcatPool,
    GlobalMaxPool,
    PadChannels,
    PartialAveragePool,
    StandardizedConv,
    Subsample,
)
from resnet_flax.normalization import BatchNorm
from resnet_flax.pooling import max_pool
from resnet_flax.repetition import repeat, rows, same_mode, wanted
from resnet_flax.representation import Printed


def lower(node: tree.Node, dtype: str) -> nnx.Module:
    """The module of one node. Parameters have no values yet."""
    match node:
        case tree.Chain():
            return Chain(node, dtype)
        case tree.Residual():
            return Residual(node, dtype)
        case tree.Gate():
            return Gate(node, dtype)
        case tree.Conv():
            conv = nnx.Conv if node.standardize is None else partial(StandardizedConv, standardize=node.standardize)
            return conv(
                node.in_channels,
                node.out_channels,
                node.kernel,
                strides=node.stride,
                padding=_padding(node.padding),
                kernel_dilation=node.dilation,
                feature_group_count=node.groups,
                use_bias=node.bias,
                kernel_init=_no_values,
                bias_init=_no_values,
                param_dtype=dtype,
                conv_general_dilated=CONVOLUTIONS[node.dtype],
                rngs=_NO_RANDOMNESS,
            )
        case tree.BatchNorm():
            return BatchNorm(
                node.channels,
                axis=-1,
                momentum=node.decay,
                epsilon=node.epsilon,
                use_bias=True,
                use_scale=True,
                use_fast_variance=False,  # E[x^2] - E[x]^2 loses every digit where the mean is large
                bias_init=_no_values,
                scale_init=_no_values,
                param_dtype=dtype,
                rngs=_NO_RANDOMNESS,
            )
        case tree.FrozenNorm():
            return FrozenNorm(node.channels, node.epsilon, dtype)
        case tree.GroupNorm():
            return nnx.GroupNorm(node.channels, node.groups, epsilon=node.epsilon, **_norm(dtype))
        case tree.LayerNorm():
            return nnx.LayerNorm(node.channels, epsilon=node.epsilon, **_norm(dtype))
        case tree.ReLU():
            return ReLU()
        case tree.Activation():
            return Activation(node.function)
        case tree.MaxPool():
            return MaxPool(node.kernel, node.stride, node.padding)
        case tree.AveragePool():
            return _average_pool(node)
        case tree.BlurPool():
            return BlurPool(node.stride, node.dilation)
        case tree.Pad():
            return Pad(node.padding)
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
            half = node.kernel // 2
            return ChannelConv(
                1,
                1,
                (node.kernel,),
                strides=1,
                padding=((half, half),),
                use_bias=False,
                kernel_init=_no_values,
                param_dtype=dtype,
                rngs=_NO_RANDOMNESS,
            )
        case tree.Dropout():
            return nnx.Dropout(node.rate, deterministic=False)  # its random numbers: draw_apart
        case tree.DropPath():
            return DropPath(node.rate, deterministic=False)
        case tree.Linear():
            return nnx.Linear(
                node.in_features,
                node.out_features,
                use_bias=node.bias,
                kernel_init=_no_values,
                bias_init=_no_values,
                param_dtype=dtype,
                rngs=_NO_RANDOMNESS,
            )
    raise InputError(f"backend flax has no lowering for {type(node).__name__}; use another backend")


class Chain(Printed):
    """Named modules, one after the other (nnx.Sequential has numbers for names)."""

    def __init__(self, node: tree.Chain, dtype: str) -> None:
        self.names = _attach(self, node, dtype)
        self.rows = rows(node)

    def __call__(self, x: Array, record: Record | None = None) -> Array:
        if not self.rows:
            return run(self, self.names, x, record)
        for loop, names in self.rows:
            loop = loop and not wanted(names, record) and same_mode(self, names)
            x = repeat(self, names, x) if loop else run(self, names, x, record)
        return x


class Residual(Printed):
    """post(body(p) + shortcut(p)) with p = pre(x). The children of all parts but the shortcut stand directly here."""

    def __init__(self, node: tree.Residual, dtype: str) -> None:
        self.pre = _attach(self, node.pre, dtype)
        self.body = _attach(self, node.body, dtype)
        self.shortcut = Chain(node.shortcut, dtype)
        self.post = _attach(self, node.post, dtype)

    def __call__(self, x: Array, record: Record | None = None) -> Array:
        x = run(self, self.pre, x, record)
        y = run(self, self.body, x, record) + run(self, ("shortcut",), x, record)
        return run(self, self.post, y, record)


class Gate(Chain):
    """x * factors: the modules give one factor for each channel of each image."""

    def __init__(self, node: tree.Gate, dtype: str) -> None:
        super().__init__(node.body, dtype)

    def __call__(self, x: Array, record: Record | None = None) -> Array:
        factors = super().__call__(x, record)
        return x * factors.reshape(x.shape[0], *(1,) * (x.ndim - 2), -1)


def _attach(module: nnx.Module, chain: tree.Chain, dtype: str) -> tuple[str, ...]:
    for name, child in chain.children:
        setattr(module, name, lower(child, dtype))
    return tuple(name for name, _ in chain.children)


def run(module: nnx.Module, names: tuple[str, ...], x: Array, record: Record | None) -> Array:
    """The output of a module's children, one after the other; the record keeps what is wanted of theirs."""
    for name in names:
        inside = None if record is None else record.inside(name)
        x = getattr(module, name)(x) if inside is None else getattr(module, name)(x, inside)
        if record is not None:
            record.keep(name, x)
    return x


def _norm(dtype: str) -> dict[str, Any]:
    """What a group norm and a layer norm have in common."""
    return {
        "use_bias": True,
        "use_scale": True,
        "use_fast_variance": False,
        "bias_init": _no_values,
        "scale_init": _no_values,
        "param_dtype": dtype,
        "rngs": _NO_RANDOMNESS,
    }


def _average_pool(node: tree.AveragePool) -> nnx.Module:
    if node.dilation == (1, 1):  # SAME pads a window of two where it reaches over the edge, and nowhere else
        return AveragePool(node.kernel, node.stride, "SAME" if node.partial else "VALID")
    if node.partial:
        return PartialAveragePool(node.stride, node.dilation)
    return DilatedAveragePool(node.kernel, node.stride, node.dilation)


def _padding(padding: Padding) -> Any:
    return "SAME" if padding == "same" else padding


def _no_values(key: None, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """An initializer whose values are all overwritten: weights come from the core."""
    return np.zeros(shape, dtype)


class _NoRandomness:
    """Stands for nnx.Rngs, whose keys nothing here would use and which cost most of the construction."""

    def params(self) -> None:
        return None


_NO_RANDOMNESS: Any = _NoRandomness()


class ReLU(nnx.Module):
    """max(x, 0), with derivative 0 at 0 (jnp.maximum gives 0.5 there)."""

    def __call__(self, x: Array) -> Array:
        return nnx.relu(x)


class Activation(nnx.Module):
    """A function of each value."""

    def __init__(self, function: tree.Function) -> None:
        self.function = function

    def __call__(self, x: Array) -> Array:
        return ACTIVATIONS[self.function](x)


ACTIVATIONS: dict[tree.Function, Callable[[Array], Array]] = {
    "relu6": nnx.relu6,
    "leaky_relu": lambda x: jnp.where(x > 0, x, tree.NEGATIVE_SLOPE * x),  # nnx.leaky_relu has another slope at 0
    "silu": nnx.silu,
    "gelu": partial(nnx.gelu, approximate=False),
    "gelu_tanh": partial(nnx.gelu, approximate=True),
    "hardswish": nnx.hard_swish,
    "sigmoid": nnx.sigmoid,
}


class MaxPool(nnx.Module):
    """Largest value of each window; the padding never wins."""

    def __init__(self, kernel: Pair, stride: Pair, padding: Padding) -> None:
        self.kernel, self.stride, self.padding = kernel, stride, padding

    def __call__(self, x: Array) -> Array:
        return max_pool(x, self.kernel, self.stride, self.padding)


class AveragePool(nnx.Module):
    """Mean of what each window has inside the image."""

    def __init__(self, kernel: Pair, stride: Pair, padding: str) -> None:
        self.kernel, self.stride, self.padding = kernel, stride, padding

    def __call__(self, x: Array) -> Array:
        # The counts inside the image are float32 or float64, whatever x is.
        pooled = nnx.avg_pool(x, self.kernel, self.stride, self.padding, count_include_pad=self.padding == "VALID")
        return pooled.astype(x.dtype)


class Pad(nnx.Module):
    """Zeros around the image."""

    def __init__(self, padding: tuple[Pair, Pair]) -> None:
        self.padding = padding

    def __call__(self, x: Array) -> Array:
        return jnp.pad(x, ((0, 0), *self.padding, (0, 0)))


class GlobalAveragePool(nnx.Module):
    """Mean over height and width."""

    def __call__(self, x: Array) -> Array:
        return x.mean((1, 2))
