"""Tree nodes to float64 arithmetic, one case each. Feature maps are (batch, height, width, channels)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from resnet_core import tree
from resnet_core.initialize import Weights
from resnet_core.padding import Padding, Pair, resolve

Array = np.ndarray


@dataclass
class Pass:
    """One pass through the network: its weights in float64 and, in training mode, the statistics it updates."""

    weights: Weights
    training: bool = False

    def __post_init__(self) -> None:
        self.statistics: Weights = {}


def run(node: tree.Node, x: Array, path: str, state: Pass) -> Array:
    """The value of one node, whose tensors are named `path.…`, for the input `x`."""
    match node:
        case tree.Chain():
            return _chain(node, x, f"{path}.", state)
        case tree.Residual():
            return _residual(node, x, f"{path}.", state)
        case tree.Conv():
            return _conv(node, x, state.weights[f"{path}.weight"], state.weights.get(f"{path}.bias"))
        case tree.BatchNorm():
            return _batch_norm(node, x, path, state)
        case tree.ReLU():
            return np.maximum(x, 0.0)
        case tree.MaxPool():
            windows = _windows(_pad(x, node.padding, node.kernel, node.stride, (1, 1), -np.inf), node, (1, 1))
            return np.maximum.reduce([window for _, window in windows])
        case tree.AveragePool():
            return np.mean([window for _, window in _windows(x, node, (1, 1))], axis=0)
        case tree.Pad():
            return np.pad(x, ((0, 0), *node.padding, (0, 0)))
        case tree.Subsample():
            return x[:, :: node.stride[0], :: node.stride[1], :]
        case tree.PadChannels():
            return np.pad(x, ((0, 0), (0, 0), (0, 0), (node.before, node.after)))
        case tree.GlobalAveragePool():
            return x.mean((1, 2))
        case tree.Linear():
            y = x @ state.weights[f"{path}.weight"].T
            return y + state.weights[f"{path}.bias"] if node.bias else y
    raise NotImplementedError(f"resnet_numpy has no lowering for {type(node).__name__}")


def _chain(node: tree.Chain, x: Array, prefix: str, state: Pass) -> Array:
    for name, child in node.children:
        x = run(child, x, prefix + name, state)
    return x


def _residual(node: tree.Residual, x: Array, prefix: str, state: Pass) -> Array:
    """post(body(p) + shortcut(p)) with p = pre(x)."""
    x = _chain(node.pre, x, prefix, state)
    y = _chain(node.body, x, prefix, state) + _chain(node.shortcut, x, f"{prefix}shortcut.", state)
    return _chain(node.post, y, prefix, state)


def _conv(node: tree.Conv, x: Array, weight: Array, bias: Array | None) -> Array:
    """A sum over the kernel's positions, each a matrix product of the pixels it meets."""
    x = _pad(x, node.padding, node.kernel, node.stride, node.dilation, 0.0)
    total: Array | float = 0.0
    for (row, column), window in _windows(x, node, node.dilation):
        total = total + _grouped_product(window, weight[:, :, row, column], node.groups)
    return np.asarray(total if bias is None else total + bias)


def _grouped_product(x: Array, weight: Array, groups: int) -> Array:
    """(…, in) with weight (out, in / groups): every group of outputs sees its own group of inputs."""
    if groups == 1:
        return x @ weight.T
    columns = x.reshape(-1, groups, weight.shape[1]).transpose(1, 0, 2)
    product = columns @ weight.reshape(groups, -1, weight.shape[1]).transpose(0, 2, 1)
    return product.transpose(1, 0, 2).reshape(*x.shape[:-1], -1)


def _batch_norm(node: tree.BatchNorm, x: Array, path: str, state: Pass) -> Array:
    mean, variance = state.weights[f"{path}.running_mean"], state.weights[f"{path}.running_var"]
    if state.training:
        old_mean, old_variance = mean, variance
        mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))  # biased: what normalises
        count = x.size // x.shape[-1]
        unbiased = variance * count / (count - 1)  # what the running variance learns
        state.statistics[f"{path}.running_mean"] = node.decay * old_mean + (1 - node.decay) * mean
        state.statistics[f"{path}.running_var"] = node.decay * old_variance + (1 - node.decay) * unbiased
    scale = state.weights[f"{path}.weight"] / np.sqrt(variance + node.epsilon)
    return (x - mean) * scale + state.weights[f"{path}.bias"]


def _pad(x: Array, padding: Padding, kernel: Pair, stride: Pair, dilation: Pair, value: float) -> Array:
    pads = resolve(padding, kernel, stride, dilation, (x.shape[1], x.shape[2]))
    return np.pad(x, ((0, 0), *pads, (0, 0)), constant_values=value) if pads != ((0, 0), (0, 0)) else x


def _windows(
    x: Array, node: tree.Conv | tree.MaxPool | tree.AveragePool, dilation: Pair
) -> Iterator[tuple[Pair, Array]]:
    """((row, column) of the kernel, the pixels of the padded `x` that it meets), for each kernel position."""
    (rows, columns), (down, right) = node.kernel, node.stride
    height = (x.shape[1] - (rows - 1) * dilation[0] - 1) // down + 1
    width = (x.shape[2] - (columns - 1) * dilation[1] - 1) // right + 1
    for row in range(rows):
        for column in range(columns):
            top, left = row * dilation[0], column * dilation[1]
            yield (
                (row, column),
                x[:, top : top + (height - 1) * down + 1 : down, left : left + (width - 1) * right + 1 : right],
            )
