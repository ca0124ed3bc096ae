"""Tree nodes to ONNX nodes, one case each. Feature maps are (batch, channels, height, width).

An attribute of an ONNX node is a float32, whatever the graph computes in, so that numbers which matter are constants
of the graph's own dtype; a batch norm's epsilon is one only in float64 (`_batch_norm`).
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi, sqrt
from typing import Any

import numpy as np

from resnet_core import tree
from resnet_core.errors import InputError
from resnet_core.padding import Padding, Pair
from resnet_core.tap_paths import Record
from resnet_core.tree import join
from resnet_core.windows import blurred, dilated_average, partial_average
from resnet_onnx.graph import Graph, Value, concatenate


def lower(node: tree.Node, x: Value, path: str, graph: Graph, record: Record) -> Value:
    """The output of one node of the tree, whose tensors are named `path.…`, for the input `x`."""
    if isinstance(node, tree.Leaf):
        graph.place = path
    y = _lower(node, x, path, graph, record)
    record.keep(path, y)
    return y


def _lower(node: tree.Node, x: Value, path: str, graph: Graph, record: Record) -> Value:
    match node:
        case tree.Chain():
            return _chain(node, x, path, graph, record)
        case tree.Residual():
            return _residual(node, x, path, graph, record)
        case tree.Gate():
            factors = _chain(node.body, x, path, graph, record)
            graph.place = path
            spread = factors.node("Unsqueeze", graph.integers(2, 3), rank=4) if x.rank == 4 else factors
            return x * spread
        case tree.Conv():
            return _conv(node, x, path)
        case tree.BatchNorm():
            return _batch_norm(node, x, path)
        case tree.FrozenNorm():
            return _batch_norm(node, x, path)
        case tree.GroupNorm():
            # Reshape's 0 keeps the batch; -1 are the channels of a group, height and width.
            groups = x.node("Reshape", graph.integers(0, node.groups, -1), rank=3)
            normalized = _normalized(groups, graph.integers(2), node.epsilon)
            return _affine(normalized.node("Reshape", x.node("Shape", rank=1), rank=4), path)
        case tree.LayerNorm():
            return _affine(_normalized(x, graph.integers(1), node.epsilon), path)
        case tree.ReLU():
            return x.node("Relu")
        case tree.Activation():
            return ACTIVATIONS[node.function](x)
        case tree.MaxPool():
            return x.node("MaxPool", kernel_shape=node.kernel, strides=node.stride, **_padding(node.padding))
        case tree.AveragePool():
            return _average_pool(node, x)
        case tree.BlurPool():
            return blurred(x, 2, node.stride, node.dilation, concatenate)
        case tree.Pad():
            (top, bottom), (left, right) = node.padding
            return x.node("Pad", graph.integers(0, 0, top, left, 0, 0, bottom, right), graph.number(0.0))
        case tree.Subsample():
            return x[:, :, :: node.stride[0], :: node.stride[1]]
        case tree.PadChannels():
            pads = graph.integers(0, node.before, 0, 0, 0, node.after, 0, 0)
            return x.node("Pad", pads, graph.number(0.0))
        case tree.GlobalAveragePool():
            return x.node("GlobalAveragePool").node("Flatten", rank=2, axis=1)
        case tree.GlobalMaxPool():
            return x.node("GlobalMaxPool").node("Flatten", rank=2, axis=1)
        case tree.GlobalConcatPool():
            both = [x.node("GlobalAveragePool"), x.node("GlobalMaxPool")]
            return concatenate(both, 1).node("Flatten", rank=2, axis=1)
        case tree.ChannelConv():
            line, half = x.node("Unsqueeze", graph.integers(1), rank=3), node.kernel // 2
            return line.node("Conv", f"{path}.weight", pads=(half, half)).node("Squeeze", graph.integers(1), rank=2)
        case tree.Dropout():
            return x  # only in training
        case tree.DropPath():
            return x
        case tree.Linear():
            return _linear(node, x, path)
    raise InputError(f"backend onnx has no lowering for {type(node).__name__}; use another backend")


def _gelu(x: Value, inner: Value) -> Value:
    return x * (inner + 1.0) * 0.5


def _gelu_tanh(x: Value) -> Value:
    cubic = x * x * x * 0.044715 + x
    return _gelu(x, (cubic * sqrt(2 / pi)).node("Tanh"))


def _between(x: Value, low: float, high: float) -> Value:
    return x.node("Clip", x.graph.number(low), x.graph.number(high))


ACTIVATIONS: dict[str, Callable[[Value], Value]] = {
    "relu6": lambda x: _between(x, 0.0, 6.0),
    "leaky_relu": lambda x: x.node("PRelu", x.graph.number(tree.NEGATIVE_SLOPE)),
    "silu": lambda x: x * x.node("Sigmoid"),
    "gelu": lambda x: _gelu(x, (x * sqrt(0.5)).node("Erf")),
    "gelu_tanh": _gelu_tanh,
    "hardswish": lambda x: x * _between(x + 3.0, 0.0, 6.0) / 6.0,
    "sigmoid": lambda x: x.node("Sigmoid"),
}


def _chain(node: tree.Chain, x: Value, path: str, graph: Graph, record: Record) -> Value:
    for name, child in node.children:
        x = lower(child, x, join(path, name), graph, record)
    return x


def _residual(node: tree.Residual, x: Value, path: str, graph: Graph, record: Record) -> Value:
    """post(body(p) + shortcut(p)) with p = pre(x)."""
    x = _chain(node.pre, x, path, graph, record)
    # First, as exporters have it: runtimes compute in this order, and what both read is read at once (5% of the time).
    shortcut = lower(node.shortcut, x, join(path, "shortcut"), graph, record)
    main = _chain(node.body, x, path, graph, record)
    graph.place = path
    return _chain(node.post, main + shortcut, path, graph, record)


def _conv(node: tree.Conv, x: Value, path: str) -> Value:
    if node.dtype is not None:
        raise InputError(f"{path}: backend onnx has no convolutions in {node.dtype}; use another backend")
    weight: Value | str = f"{path}.weight"
    if node.standardize is not None:
        weight = _normalized(Value(x.graph, f"{path}.weight"), x.graph.integers(1, 2, 3), node.standardize)
    kernel, dilation = node.kernel, node.dilation
    if node.padding == "same" and dilation != (1, 1):  # onnxruntime pads only undilated kernels by the image's size
        weight = _spread(Value(x.graph, weight) if isinstance(weight, str) else weight, node)
        kernel, dilation = _reach(node), (1, 1)
    return x.node(
        "Conv",
        weight,
        *([f"{path}.bias"] if node.bias else []),
        kernel_shape=kernel,
        strides=node.stride,
        dilations=dilation,
        group=node.groups,
        **_padding(node.padding),
    )


def _reach(node: tree.Conv) -> Pair:
    """Height and width that a dilated kernel covers."""
    rows, columns = ((size - 1) * distance + 1 for size, distance in zip(node.kernel, node.dilation, strict=True))
    return rows, columns


def _spread(weight: Value, node: tree.Conv) -> Value:
    """A kernel with zeros between its values, which without dilation is what the dilated one is."""
    integers, (down, right), (rows, columns) = weight.graph.integers, node.dilation, node.kernel
    cells = weight.node("Unsqueeze", integers(3, 5), rank=6)
    ends = integers(*(0,) * 9, down - 1, 0, right - 1)
    padded = cells.node("Pad", ends, weight.graph.number(0.0))
    whole = padded.node("Reshape", integers(0, 0, rows * down, columns * right), rank=4)
    height, width = _reach(node)
    return whole[:, :, :height, :width]


def _batch_norm(node: tree.BatchNorm | tree.FrozenNorm, x: Value, path: str) -> Value:
    names = [f"{path}.{tensor}" for tensor in node.tensors()]
    # What the attribute, a float32, lacks of the epsilon; far below what float32 values can tell.
    rest = node.epsilon - float(np.float32(node.epsilon))
    variance = Value(x.graph, names[3]) + rest if x.graph.dtype == "float64" and rest else names[3]
    return x.node("BatchNormalization", *names[:3], variance, epsilon=node.epsilon, training_mode=0)


def _normalized(x: Value, axes: str, epsilon: float) -> Value:
    """Mean 0 and variance 1, the biased one, over the axes."""
    centered = x - x.node("ReduceMean", axes, keepdims=1)
    variance = (centered * centered).node("ReduceMean", axes, keepdims=1)
    return centered / (variance + epsilon).node("Sqrt")


def _affine(x: Value, path: str) -> Value:
    """Scale and shift of each channel, which broadcast over height and width."""
    axes = x.graph.integers(1, 2)
    scale, shift = (Value(x.graph, f"{path}.{name}").node("Unsqueeze", axes) for name in ("weight", "bias"))
    return x * scale + shift


def _average_pool(node: tree.AveragePool, x: Value) -> Value:
    if node.dilation != (1, 1) and node.partial:
        return partial_average(x, 2, node.stride, node.dilation, concatenate)
    if node.dilation != (1, 1):
        return dilated_average(x, 2, node.kernel, node.stride, node.dilation)
    padding = _padding(node.padding)
    return x.node("AveragePool", kernel_shape=node.kernel, strides=node.stride, count_include_pad=0, **padding)


def _padding(padding: Padding) -> dict[str, Any]:
    """TensorFlow's "same", the odd pixel behind, is ONNX' SAME_UPPER; else all begins, then all ends."""
    if padding == "same":
        return {"auto_pad": "SAME_UPPER"}
    (top, bottom), (left, right) = padding
    return {"pads": (top, left, bottom, right)}


def _linear(node: tree.Linear, x: Value, path: str) -> Value:
    bias = [f"{path}.bias"] if node.bias else []
    if x.rank == 2:
        return x.node("Gemm", f"{path}.weight", *bias, transB=1)
    kernel = Value(x.graph, f"{path}.weight").node("Unsqueeze", x.graph.integers(2, 3))
    return x.node("Conv", kernel, *bias, kernel_shape=(1, 1))
