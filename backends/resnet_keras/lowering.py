"""Tree nodes to Keras layers, one case each. Feature maps are (batch, height, width, channels)."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from resnet_core import tree
from resnet_core.errors import InputError

FORMAT = "channels_last"


def lower(node: tree.Node, x: Any, name: str) -> Any:
    """The output of one node for the symbolic input `x`. Parameters are zero until weights are set."""
    dtype = x.dtype
    match node:
        case tree.Chain():
            return nested(name, x, lambda inside: _chain(node, inside))
        case tree.Residual():
            return nested(name, x, lambda inside: _residual(node, inside))
        case tree.Conv():
            return _conv(node, x, name)
        case tree.BatchNorm():
            return layers.BatchNormalization(
                axis=-1,
                momentum=node.decay,
                epsilon=node.epsilon,
                center=True,
                scale=True,
                name=name,
                dtype=dtype,
            )(x)
        case tree.ReLU():
            return layers.ReLU(name=name, dtype=dtype)(x)
        case tree.MaxPool():
            return _max_pool(node, x, name)
        case tree.AveragePool():
            return layers.AveragePooling2D(
                node.kernel, node.stride, padding="valid", data_format=FORMAT, name=name, dtype=dtype
            )(x)
        case tree.Pad():
            return layers.ZeroPadding2D(node.padding, data_format=FORMAT, name=name, dtype=dtype)(x)
        case tree.Subsample():
            # A built-in layer that picks every stride-th pixel: a pool over windows of one.
            return layers.MaxPooling2D(
                (1, 1), node.stride, padding="valid", data_format=FORMAT, name=name, dtype=dtype
            )(x)
        case tree.PadChannels():
            return keras.ops.pad(x, ((0, 0), (0, 0), (0, 0), (node.before, node.after)))
        case tree.GlobalAveragePool():
            return layers.GlobalAveragePooling2D(data_format=FORMAT, name=name, dtype=dtype)(x)
        case tree.Linear():
            return layers.Dense(
                node.out_features,
                activation=None,
                use_bias=node.bias,
                kernel_initializer="zeros",
                bias_initializer="zeros",
                name=name,
                dtype=dtype,
            )(x)
    raise InputError(f"backend keras has no lowering for {type(node).__name__}; use another backend")


def nested(name: str, x: Any, function: Any) -> Any:
    """`function` of `x` as a model of its own, so that the summary nests and a deep net stays a shallow graph."""
    inputs = keras.Input(x.shape[1:], dtype=x.dtype, name="input")
    # Every variable's path must be its own: Keras' PyTorch backend registers variables by path, and one that is
    # overwritten keeps its gradients from step to step.
    with keras.name_scope(name):
        outputs = function(inputs)
    return keras.Model(inputs, outputs, name=name)(x)


def _chain(node: tree.Chain, x: Any) -> Any:
    for name, child in node.children:
        x = lower(child, x, name)
    return x


def _residual(node: tree.Residual, x: Any) -> Any:
    """post(body(p) + shortcut(p)) with p = pre(x)."""
    x = _chain(node.pre, x)
    shortcut = lower(node.shortcut, x, "shortcut") if node.shortcut.children else x
    x = layers.Add(name="add", dtype=x.dtype)([_chain(node.body, x), shortcut])
    return _chain(node.post, x)


def _conv(node: tree.Conv, x: Any, name: str) -> Any:
    same = node.padding == "same" or _same_is_equal(node)
    if not same and node.padding != ((0, 0), (0, 0)):
        x = layers.ZeroPadding2D(node.padding, data_format=FORMAT, name=f"{name}_pad", dtype=x.dtype)(x)
    return layers.Conv2D(
        node.out_channels,
        node.kernel,
        strides=node.stride,
        padding="same" if same else "valid",
        data_format=FORMAT,
        dilation_rate=node.dilation,
        groups=node.groups,
        activation=None,
        use_bias=node.bias,
        kernel_initializer="zeros",
        bias_initializer="zeros",
        name=name,
        dtype=x.dtype,
    )(x)


def _same_is_equal(node: tree.Conv) -> bool:
    """Whether Keras' "same" pads these numbers at any size: at stride 1, both sides alike."""
    if node.padding == "same" or node.stride != (1, 1):
        return False
    return all(
        before == after and before + after == (kernel - 1) * dilation
        for (before, after), kernel, dilation in zip(node.padding, node.kernel, node.dilation, strict=True)
    )


def _max_pool(node: tree.MaxPool, x: Any, name: str) -> Any:
    if node.padding not in ("same", ((0, 0), (0, 0))):
        x = keras.ops.pad(x, ((0, 0), *node.padding, (0, 0)), constant_values=float("-inf"))
    padding = "same" if node.padding == "same" else "valid"
    return layers.MaxPooling2D(node.kernel, node.stride, padding=padding, data_format=FORMAT, name=name, dtype=x.dtype)(
        x
    )
