"""Tree nodes to float64 arithmetic, one case each, forward and backward.

Feature maps are (batch, height, width, channels).

Every node gives its value and a pullback: the function that takes the gradient of a loss with respect to the
node's output and returns the one with respect to its input, adding those of its parameters to `Pass.gradients`
on the way. Backpropagation is nothing but calling the pullbacks in reverse order.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod

import numpy as np

from resnet_core import tree
from resnet_core.errors import InputError
from resnet_core.padding import Pair, resolve
from resnet_core.tap_paths import Record
from resnet_core.weights import Weights, rounded
from resnet_numpy.layers import (
    Array,
    Pullback,
    activate,
    blur,
    global_max,
    global_mean,
    group_normalize,
    normalize,
    partial_average,
)

IMAGE = (0, 1, 2)  # batch, height, width: what a channel's statistics and a bias' gradient are summed over


@dataclass
class Pass:
    """One pass through the network: its weights in float64, and what the pass leaves behind.

    In training mode `statistics` gets the updated running statistics, and a norm whose path is `frozen` computes as in
    evaluation mode. With `differentiate` the pullbacks are kept
    (and with them every intermediate value), and calling them fills `gradients`. `factors` is what a Dropout or a
    DropPath multiplies by; without, it passes everything. `record` keeps the outputs of taps.

    Where others pass the rest of a batch, `whole` is the number of its images, `total` adds everyone's values up, and
    the rows where `mask` is 0 are none of the batch's (`resnet_numpy.parallel`). Of `rows` of a batch, a batch norm
    takes the statistics by themselves; None: of all.
    """

    weights: Weights
    training: bool = False
    differentiate: bool = False
    frozen: Collection[str] = ()
    factors: Mapping[str, Array] = field(default_factory=dict)
    record: Record = field(default_factory=Record)
    statistics: Weights = field(default_factory=dict)
    gradients: Weights = field(default_factory=dict)
    whole: int | None = None
    total: Callable[[Array], Array] = np.asarray
    mask: Array | None = None
    rows: int | None = None

    def counted(self, x: Array) -> Array:
        """The values that statistics are about: 0 in rows that are none of the batch's."""
        return x if self.mask is None else x * self.mask.reshape(-1, *(1,) * (x.ndim - 1))


def run(node: tree.Node, x: Array, path: str, context: Pass) -> tuple[Array, Pullback]:
    """(value, pullback) of one node, whose tensors are named `path.…`, for the input `x`."""
    y, pullback = _lower(node, x, path, context)
    context.record.keep(path, y)
    return y, pullback


def _lower(node: tree.Node, x: Array, path: str, context: Pass) -> tuple[Array, Pullback]:
    match node:
        case tree.Chain():
            return _chain(node, x, f"{path}.", context)
        case tree.Residual():
            return _residual(node, x, f"{path}.", context)
        case tree.Gate():
            return _gate(node, x, path, context)
        case tree.Conv():
            return _conv(node, x, path, context)
        case tree.BatchNorm():
            return _batch_norms(node, x, path, context)
        case tree.FrozenNorm():
            mean, variance = context.weights[f"{path}.running_mean"], context.weights[f"{path}.running_var"]
            scale = context.weights[f"{path}.weight"] / np.sqrt(variance + node.epsilon)
            return (x - mean) * scale + context.weights[f"{path}.bias"], lambda dy: dy * scale
        case tree.GroupNorm():
            return _affine(*group_normalize(x, node.groups, node.epsilon), path, context)
        case tree.LayerNorm():
            return _affine(*normalize(x, (-1,), node.epsilon), path, context)
        case tree.ReLU():
            return np.maximum(x, 0.0), lambda dy: dy * (x > 0)
        case tree.Activation():
            return activate(node.function, x)
        case tree.MaxPool():
            return _max_pool(node, x)
        case tree.AveragePool():
            return _average_pool(node, x)
        case tree.BlurPool():
            return _subsampled(*blur(x, node.dilation), node.stride)
        case tree.Pad():
            return _pad(x, node.padding, 0.0)
        case tree.Subsample():
            return _subsampled(x, lambda dy: dy, node.stride)
        case tree.PadChannels():
            y = np.pad(x, ((0, 0), (0, 0), (0, 0), (node.before, node.after)))
            return y, lambda dy: dy[..., node.before : node.before + x.shape[-1]]
        case tree.GlobalAveragePool():
            return global_mean(x)
        case tree.GlobalMaxPool():
            return global_max(x)
        case tree.GlobalConcatPool():
            (mean, spread), (most, first) = global_mean(x), global_max(x)
            channels = x.shape[-1]
            return np.concatenate([mean, most], 1), lambda dy: spread(dy[:, :channels]) + first(dy[:, channels:])
        case tree.ChannelConv():
            return _channel_conv(node, x, path, context)
        case tree.Dropout():
            return _multiplied(x, path, context)
        case tree.DropPath():
            return _multiplied(x, path, context)
        case tree.Linear():
            return _linear(node, x, path, context)
    raise InputError(f"backend numpy has no lowering for {type(node).__name__}; use another backend")


def _chain(node: tree.Chain, x: Array, prefix: str, context: Pass) -> tuple[Array, Pullback]:
    pullbacks: list[Pullback] = []
    for name, child in node.children:
        x, pullback = run(child, x, prefix + name, context)
        if context.differentiate:
            pullbacks.append(pullback)

    def backward(dy: Array) -> Array:
        for pullback in reversed(pullbacks):
            dy = pullback(dy)
        return dy

    return x, backward


def _residual(node: tree.Residual, x: Array, prefix: str, context: Pass) -> tuple[Array, Pullback]:
    """post(body(p) + shortcut(p)) with p = pre(x). An addition hands its gradient to both sides; they meet in p."""
    p, pre = _chain(node.pre, x, prefix, context)
    main, body = _chain(node.body, p, prefix, context)
    short, shortcut = run(node.shortcut, p, f"{prefix}shortcut", context)
    y, post = _chain(node.post, main + short, prefix, context)

    def backward(dy: Array) -> Array:
        both = post(dy)
        return pre(body(both) + shortcut(both))

    return y, backward


def _gate(node: tree.Gate, x: Array, path: str, context: Pass) -> tuple[Array, Pullback]:
    """x * body(x): the product rule, with the factors' gradients summed over the positions that share them."""
    factors, body = _chain(node.body, x, f"{path}.", context)
    shared = factors.reshape(len(x), *(1,) * (x.ndim - 2), -1)
    positions = tuple(range(1, x.ndim - 1))
    return x * shared, lambda dy: dy * shared + body((dy * x).sum(positions))


def _conv(node: tree.Conv, x: Array, path: str, context: Pass) -> tuple[Array, Pullback]:
    """A sum over the kernel's positions, each a matrix product of the pixels it meets."""
    weight, standardized = context.weights[f"{path}.weight"], None
    if node.standardize is not None:
        weight, standardized = normalize(weight, (1, 2, 3), node.standardize)
    pads = resolve(node.padding, node.kernel, node.stride, node.dilation, (x.shape[1], x.shape[2]))
    padded, crop = _pad(_kept(x, node.dtype), pads, 0.0)
    weight = _kept(weight, node.dtype)
    y: Array = np.zeros(1)
    for (row, column), where in _windows(padded.shape, node, node.dilation):
        y = y + _grouped(padded[where], weight[:, :, row, column], node.groups)
    y = _kept(y, node.dtype)

    def backward(dy: Array) -> Array:
        d_weight, d_padded, d_y = np.zeros_like(weight), np.zeros_like(padded), _kept(dy, node.dtype)
        for (row, column), where in _windows(padded.shape, node, node.dilation):
            d_weight[:, :, row, column] = _grouped_outer(d_y, padded[where], node.groups)
            d_padded[where] += _grouped_transposed(d_y, weight[:, :, row, column], node.groups)
        d_weight = _kept(d_weight, node.dtype)
        context.gradients[f"{path}.weight"] = standardized(d_weight) if standardized else d_weight
        if node.bias:
            context.gradients[f"{path}.bias"] = dy.sum(IMAGE)
        return crop(_kept(d_padded, node.dtype))

    return y + context.weights[f"{path}.bias"] if node.bias else y, backward


def _kept(values: Array, dtype: str | None) -> Array:
    """As many digits of the values as the dtype has, in float64; all of them where there is none."""
    return values if dtype is None else rounded(values, dtype).astype(np.float64)


def _grouped(x: Array, weight: Array, groups: int) -> Array:
    """(…, in) with weight (out, in / groups) to (…, out): every group of outputs sees its own group of inputs."""
    return _join(_split(x, groups) @ weight.reshape(groups, -1, weight.shape[1]).transpose(0, 2, 1), x.shape)


def _grouped_transposed(dy: Array, weight: Array, groups: int) -> Array:
    """(…, out) back to (…, in)."""
    return _join(_split(dy, groups) @ weight.reshape(groups, -1, weight.shape[1]), dy.shape)


def _grouped_outer(dy: Array, x: Array, groups: int) -> Array:
    """Gradient of the weight (out, in / groups): products of output and input, summed over the pixels."""
    product = _split(dy, groups).transpose(0, 2, 1) @ _split(x, groups)
    return product.reshape(-1, product.shape[-1])


def _split(x: Array, groups: int) -> Array:
    """(…, channels) to (groups, pixels, channels / groups)."""
    return x.reshape(-1, groups, x.shape[-1] // groups).transpose(1, 0, 2)


def _join(x: Array, shape: tuple[int, ...]) -> Array:
    """(groups, pixels, channels / groups) to (…, channels)."""
    return x.transpose(1, 0, 2).reshape(*shape[:-1], -1)


def _batch_norms(node: tree.BatchNorm, x: Array, path: str, context: Pass) -> tuple[Array, Pullback]:
    """Of each group of a batch by itself; the running statistics learn from one after another."""
    groups = len(x) // (context.rows or len(x)) if len(x) else 1
    values, pullbacks = zip(*(_batch_norm(node, own, path, context) for own in np.split(x, groups)), strict=True)

    def backward(dy: Array) -> Array:
        found, sums = [], dict.fromkeys((f"{path}.weight", f"{path}.bias"), np.zeros(node.channels))
        for pullback, own in zip(pullbacks, np.split(dy, groups), strict=True):
            found.append(pullback(own))
            sums = {name: value + context.gradients[name] for name, value in sums.items()}
        context.gradients.update(sums)
        return np.concatenate(found)

    return (np.concatenate(values), backward) if groups > 1 else (values[0], pullbacks[0])


def _batch_norm(node: tree.BatchNorm, x: Array, path: str, context: Pass) -> tuple[Array, Pullback]:
    names = f"{path}.running_mean", f"{path}.running_var"
    mean, variance = (context.statistics.get(name, context.weights[name]) for name in names)  # or an earlier group's
    count, training = (context.whole or len(x)) * prod(x.shape[1:-1]), context.training and path not in context.frozen
    if training:
        old_mean, old_variance = mean, variance
        mean = context.total(context.counted(x).sum(IMAGE)) / count
        variance = context.total(context.counted((x - mean) ** 2).sum(IMAGE)) / count  # biased: what normalizes
        unbiased = variance * count / (count - 1)  # what the running variance learns
        for name, old, new in zip(names, (old_mean, old_variance), (mean, unbiased), strict=True):
            context.statistics[name] = node.decay * old + (1 - node.decay) * new
    deviation = np.sqrt(variance + node.epsilon)
    scale = context.weights[f"{path}.weight"] / deviation

    def backward(dy: Array) -> Array:
        normalized = (x - mean) / deviation
        context.gradients[f"{path}.weight"] = d_weight = (dy * normalized).sum(IMAGE)
        context.gradients[f"{path}.bias"] = d_bias = dy.sum(IMAGE)
        if not training:
            return dy * scale
        # Mean and variance are functions of x too: what they would carry away is taken out of the gradient.
        carried = context.total(d_bias) / count + normalized * (context.total(d_weight) / count)
        return scale * (dy - context.counted(carried))

    return (x - mean) * scale + context.weights[f"{path}.bias"], backward


def _affine(normalized: Array, backward: Pullback, path: str, context: Pass) -> tuple[Array, Pullback]:
    """Scale and shift of each channel behind a normalization."""
    scale = context.weights[f"{path}.weight"]

    def pullback(dy: Array) -> Array:
        others = tuple(range(dy.ndim - 1))
        context.gradients[f"{path}.weight"] = (dy * normalized).sum(others)
        context.gradients[f"{path}.bias"] = dy.sum(others)
        return backward(dy * scale)

    return normalized * scale + context.weights[f"{path}.bias"], pullback


def _max_pool(node: tree.MaxPool, x: Array) -> tuple[Array, Pullback]:
    pads = resolve(node.padding, node.kernel, node.stride, (1, 1), (x.shape[1], x.shape[2]))
    padded, crop = _pad(x, pads, -np.inf)
    y = np.maximum.reduce([padded[where] for _, where in _windows(padded.shape, node, (1, 1))])

    def backward(dy: Array) -> Array:
        d_padded, open_ = np.zeros_like(padded), np.ones(dy.shape, bool)
        for _, where in _windows(padded.shape, node, (1, 1)):
            wins = open_ & (padded[where] == y)  # of equal values the first in the window takes all
            d_padded[where] += dy * wins
            open_ &= ~wins
        return crop(d_padded)

    return y, backward


def _average_pool(node: tree.AveragePool, x: Array) -> tuple[Array, Pullback]:
    if node.partial:
        return _subsampled(*partial_average(x, node.dilation), node.stride)
    windows = [where for _, where in _windows(x.shape, node, node.dilation)]

    def backward(dy: Array) -> Array:
        dx = np.zeros_like(x)
        for where in windows:
            dx[where] += dy / len(windows)
        return dx

    return np.mean([x[where] for where in windows], axis=0), backward


def _subsampled(x: Array, pullback: Pullback, stride: Pair) -> tuple[Array, Pullback]:
    """Every stride-th pixel of what has this pullback."""
    where = (slice(None), slice(None, None, stride[0]), slice(None, None, stride[1]))

    def backward(dy: Array) -> Array:
        dx = np.zeros_like(x)
        dx[where] = dy
        return pullback(dx)

    return x[where], backward


def _channel_conv(node: tree.ChannelConv, x: Array, path: str, context: Pass) -> tuple[Array, Pullback]:
    """(batch, channels): a sum over the kernel's positions, like `_conv`."""
    weight, half, channels = context.weights[f"{path}.weight"], node.kernel // 2, x.shape[-1]
    padded = np.pad(x, ((0, 0), (half, half)))
    windows = [slice(place, place + channels) for place in range(node.kernel)]

    def backward(dy: Array) -> Array:
        d_padded = np.zeros_like(padded)
        for place, where in enumerate(windows):
            d_padded[:, where] += dy * weight[0, 0, place]
        gradient = np.array([(dy * padded[:, where]).sum() for where in windows])
        context.gradients[f"{path}.weight"] = gradient.reshape(weight.shape)
        return d_padded[:, half : half + channels]

    return sum(padded[:, where] * weight[0, 0, place] for place, where in enumerate(windows)), backward


def _multiplied(x: Array, path: str, context: Pass) -> tuple[Array, Pullback]:
    """By a random layer's factors; without any, nothing is dropped."""
    factors = context.factors.get(path, np.ones(1))
    factors = factors.reshape(factors.shape + (1,) * (x.ndim - factors.ndim))
    return x * factors, lambda dy: dy * factors


def _linear(node: tree.Linear, x: Array, path: str, context: Pass) -> tuple[Array, Pullback]:
    weight = context.weights[f"{path}.weight"]
    y = x @ weight.T

    def backward(dy: Array) -> Array:
        context.gradients[f"{path}.weight"] = _grouped_outer(dy, x, 1)
        if node.bias:
            context.gradients[f"{path}.bias"] = dy.reshape(-1, dy.shape[-1]).sum(0)
        return dy @ weight

    return y + context.weights[f"{path}.bias"] if node.bias else y, backward


def _pad(x: Array, padding: tuple[Pair, Pair], value: float) -> tuple[Array, Pullback]:
    if padding == ((0, 0), (0, 0)):
        return x, lambda dy: dy
    (top, _), (left, _) = padding
    inside = (slice(None), slice(top, top + x.shape[1]), slice(left, left + x.shape[2]))
    return np.pad(x, ((0, 0), *padding, (0, 0)), constant_values=value), lambda dy: dy[inside]


def _windows(
    shape: tuple[int, ...], node: tree.Conv | tree.MaxPool | tree.AveragePool, dilation: Pair
) -> Iterator[tuple[Pair, tuple[slice, slice, slice]]]:
    """((row, column) of the kernel, the pixels of the padded image that it meets), for each kernel position."""
    (rows, columns), (down, right) = node.kernel, node.stride
    height = (shape[1] - (rows - 1) * dilation[0] - 1) // down + 1
    width = (shape[2] - (columns - 1) * dilation[1] - 1) // right + 1
    for row in range(rows):
        for column in range(columns):
            top, left = row * dilation[0], column * dilation[1]
            vertical = slice(top, top + (height - 1) * down + 1, down)
            yield (row, column), (slice(None), vertical, slice(left, left + (width - 1) * right + 1, right))
