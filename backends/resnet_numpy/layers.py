"""What a layer computes where that is more than an expression: each gives its value and its pullback.

Feature maps are (batch, height, width, channels).
"""

from __future__ import annotations

from collections.abc import Callable
from math import erf, pi, sqrt

import numpy as np

from resnet_core import tree

Array = np.ndarray
Pullback = Callable[[Array], Array]


def normalize(x: Array, axes: tuple[int, ...], epsilon: float) -> tuple[Array, Pullback]:
    """Mean 0 and variance 1 over `axes`, with the biased variance."""
    deviation = np.sqrt(x.var(axes, keepdims=True) + epsilon)
    normalized = (x - x.mean(axes, keepdims=True)) / deviation

    def backward(dy: Array) -> Array:
        # Mean and variance are functions of x too: what they would carry away is taken out of the gradient.
        along = (dy * normalized).mean(axes, keepdims=True)
        return (dy - dy.mean(axes, keepdims=True) - normalized * along) / deviation

    return normalized, backward


def group_normalize(x: Array, groups: int, epsilon: float) -> tuple[Array, Pullback]:
    """Over the positions and the channels of each group, for each image."""
    normalized, backward = normalize(x.reshape(*x.shape[:3], groups, -1), (1, 2, 4), epsilon)
    return normalized.reshape(x.shape), lambda dy: backward(dy.reshape(*x.shape[:3], groups, -1)).reshape(x.shape)


def activate(function: str, x: Array) -> tuple[Array, Pullback]:
    """A function of each value (`resnet_core.tree.Activation`)."""
    y, slope = FUNCTIONS[function](x)
    return y, lambda dy: dy * slope


def _relu6(x: Array) -> tuple[Array, Array]:
    return np.clip(x, 0.0, 6.0), ((x > 0) & (x < 6)).astype(x.dtype)


def _leaky_relu(x: Array) -> tuple[Array, Array]:
    slope = np.where(x > 0, 1.0, tree.NEGATIVE_SLOPE)
    return x * slope, slope


def _sigmoid(x: Array) -> tuple[Array, Array]:
    y = (1 + np.tanh(x / 2)) / 2  # exp(-x) would overflow
    return y, y * (1 - y)


def _silu(x: Array) -> tuple[Array, Array]:
    gate, slope = _sigmoid(x)
    return x * gate, gate + x * slope


def _gelu(x: Array) -> tuple[Array, Array]:
    below = (1 + np.vectorize(erf, otypes=[float])(x / sqrt(2))) / 2  # the share of a normal distribution below x
    return x * below, below + x * np.exp(-(x**2) / 2) / sqrt(2 * pi)


def _gelu_tanh(x: Array) -> tuple[Array, Array]:
    scale = sqrt(2 / pi)
    bend = np.tanh(scale * (x + 0.044715 * x**3))
    slope = (1 - bend**2) * scale * (1 + 3 * 0.044715 * x**2)
    return x * (1 + bend) / 2, (1 + bend + x * slope) / 2


def _hardswish(x: Array) -> tuple[Array, Array]:
    gate = np.clip(x + 3, 0.0, 6.0) / 6
    return x * gate, gate + x * ((x > -3) & (x < 3)) / 6


#: {function: (value, derivative)}.
FUNCTIONS: dict[str, Callable[[Array], tuple[Array, Array]]] = {
    "relu6": _relu6,
    "leaky_relu": _leaky_relu,
    "silu": _silu,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "hardswish": _hardswish,
    "sigmoid": _sigmoid,
}


def neighbors(size: int, distance: int) -> tuple[Array, Array]:
    """Where each pixel's neighbors at a distance stand, before and after; beyond the edge, those on the other side."""
    here = np.arange(size)
    before, after = here - distance, here + distance
    return np.where(before < 0, after, before), np.where(after >= size, before, after)


def partial_average(x: Array, dilation: tuple[int, int]) -> tuple[Array, Pullback]:
    """Mean of each pixel and of its neighbors behind it, as far as they are inside; at every pixel."""
    pullbacks = []
    for axis, distance in enumerate(dilation, start=1):
        here = np.arange(x.shape[axis])
        x, pullback = _mean_with(x, axis, [here, np.where(here + distance < len(here), here + distance, here)])
        pullbacks.append(pullback)
    return x, lambda dy: pullbacks[0](pullbacks[1](dy))


def blur(x: Array, dilation: tuple[int, int]) -> tuple[Array, Pullback]:
    """(1, 2, 1) / 4 along both axes, at every pixel."""
    pullbacks = []
    for axis, distance in enumerate(dilation, start=1):
        here, (before, after) = np.arange(x.shape[axis]), neighbors(x.shape[axis], distance)
        x, pullback = _mean_with(x, axis, [before, here, here, after])
        pullbacks.append(pullback)
    return x, lambda dy: pullbacks[0](pullbacks[1](dy))


def _mean_with(x: Array, axis: int, places: list[Array]) -> tuple[Array, Pullback]:
    """The mean of the pixels at `places`, each an index along the axis."""

    def backward(dy: Array) -> Array:
        dx = np.zeros_like(dy)
        for place in places:
            np.add.at(np.moveaxis(dx, axis, 0), place, np.moveaxis(dy, axis, 0) / len(places))
        return dx

    return np.mean([x.take(place, axis) for place in places], axis=0), backward


def global_max(x: Array) -> tuple[Array, Pullback]:
    """Maximum over the positions; of equal values, the first takes all."""
    flat = x.reshape(len(x), -1, x.shape[-1])
    first = flat.argmax(1)[:, None]

    def backward(dy: Array) -> Array:
        dx = np.zeros_like(flat)
        np.put_along_axis(dx, first, dy[:, None], 1)
        return dx.reshape(x.shape)

    return np.take_along_axis(flat, first, 1)[:, 0], backward


def global_mean(x: Array) -> tuple[Array, Pullback]:
    """Mean over the positions."""
    positions = x.shape[1] * x.shape[2]
    return x.mean((1, 2)), lambda dy: np.broadcast_to(dy[:, None, None] / positions, x.shape)
