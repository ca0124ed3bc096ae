"""Tree nodes to Keras layers, one case each. Feature maps are (batch, height, width, channels)."""

from __future__ import annotations

import re
from typing import Any

import keras
from keras import layers

from resnet_core import tree
from resnet_core.errors import InputError
from resnet_core.padding import Pair

FORMAT = "channels_last"

#: The most leaves of one flat graph. Keras walks it by recursion, which Python ends at a depth of 1,000.
DEEP = 700


def lower(node: tree.Node, x: Any, path: str, policy: keras.DTypePolicy) -> Any:
    """The output of one node for the symbolic input `x`. Parameters are zero until weights are set."""
    match node:
        case tree.Chain():
            return _chain(node, x, path, policy)
        case tree.Residual():
            return _residual(node, x, path, policy)
        case tree.Conv():
            return _conv(node, x, path, policy)
        case tree.BatchNorm():
            return layers.BatchNormalization(
                axis=-1,
                momentum=node.decay,
                epsilon=node.epsilon,
                center=True,
                scale=True,
                name=layer_name(path),
                dtype=policy,
            )(x)
        case tree.ReLU():
            return layers.ReLU(name=layer_name(path), dtype=policy)(x)
        case tree.MaxPool():
            return _max_pool(node, x, path, policy)
        case tree.AveragePool():
            return layers.AveragePooling2D(
                node.kernel, node.stride, padding="valid", data_format=FORMAT, name=layer_name(path), dtype=policy
            )(x)
        case tree.Pad():
            return _pad(x, node.padding, FORMAT, path, policy)
        case tree.Subsample():
            # A built-in layer that picks every stride-th pixel: a pool over windows of one.
            return layers.MaxPooling2D(
                (1, 1), node.stride, padding="valid", data_format=FORMAT, name=layer_name(path), dtype=policy
            )(x)
        case tree.PadChannels():
            # A built-in layer that pads the last two axes: the width by nothing, and the channels.
            return _pad(x, ((0, 0), (node.before, node.after)), "channels_first", path, policy)
        case tree.GlobalAveragePool():
            return layers.GlobalAveragePooling2D(data_format=FORMAT, name=layer_name(path), dtype=policy)(x)
        case tree.Linear():
            return layers.Dense(
                node.out_features,
                activation=None,
                use_bias=node.bias,
                kernel_initializer="zeros",
                bias_initializer="zeros",
                name=layer_name(path),
                dtype=policy,
            )(x)
    raise InputError(f"backend keras has no lowering for {type(node).__name__}; use another backend")


def layer_name(path: str) -> str:
    """The layer of a node: `stage1_block1_conv1` is stage1.block1.conv1. `neutral_path` is the way back."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._]*", path):
        raise InputError(f"{path}: is no name in Keras, where it takes letters, digits and underscores; rename the node")
    return path.translate(str.maketrans("._", "_-"))


def neutral_path(name: str) -> str:
    """The path of a layer's node in the tree."""
    return name.translate(str.maketrans("_-", "._"))


def is_deep(node: tree.Chain) -> bool:
    """Whether the parts of a chain are models of their own."""
    return sum(1 for _ in tree.leaves(node)) > DEEP


def part(node: tree.Node, x: Any, path: str, policy: keras.DTypePolicy, deep: bool) -> Any:
    """The output of a child of a chain, in a `deep` one by a model of its own."""
    if not deep or isinstance(node, tree.Leaf):
        return lower(node, x, path, policy)
    inputs = keras.Input(x.shape[1:], dtype=x.dtype, name=layer_name(f"{path}.input"))
    return keras.Model(inputs, lower(node, inputs, path, policy), name=layer_name(f"{path}.model"))(x)


def _chain(node: tree.Chain, x: Any, path: str, policy: keras.DTypePolicy) -> Any:
    deep = is_deep(node)
    for name, child in node.children:
        x = part(child, x, tree.join(path, name), policy, deep)
    return x


def _residual(node: tree.Residual, x: Any, path: str, policy: keras.DTypePolicy) -> Any:
    """post(body(p) + shortcut(p)) with p = pre(x)."""
    x = _chain(node.pre, x, path, policy)
    shortcut = lower(node.shortcut, x, tree.join(path, "shortcut"), policy)
    body = _chain(node.body, x, path, policy)
    x = layers.Add(name=layer_name(tree.join(path, "add")), dtype=policy)([body, shortcut])
    return _chain(node.post, x, path, policy)


def _conv(node: tree.Conv, x: Any, path: str, policy: keras.DTypePolicy) -> Any:
    same = node.padding == "same" or _same_is_equal(node)
    if not same and node.padding != ((0, 0), (0, 0)):
        x = _pad(x, node.padding, FORMAT, f"{path}.pad", policy)
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
        name=layer_name(path),
        dtype=policy,
    )(x)


def _same_is_equal(node: tree.Conv) -> bool:
    """Whether Keras' "same" pads these numbers at any size: at stride 1, both sides alike."""
    if node.padding == "same" or node.stride != (1, 1):
        return False
    return all(
        before == after and before + after == (kernel - 1) * dilation
        for (before, after), kernel, dilation in zip(node.padding, node.kernel, node.dilation, strict=True)
    )


def _pad(x: Any, padding: tuple[Pair, Pair], layout: str, path: str, policy: keras.DTypePolicy) -> Any:
    return layers.ZeroPadding2D(padding, data_format=layout, name=layer_name(path), dtype=policy)(x)


def _max_pool(node: tree.MaxPool, x: Any, path: str, policy: keras.DTypePolicy) -> Any:
    if node.padding not in ("same", ((0, 0), (0, 0))):
        x = keras.ops.pad(x, ((0, 0), *node.padding, (0, 0)), constant_values=float("-inf"))
    padding = "same" if node.padding == "same" else "valid"
    return layers.MaxPooling2D(
        node.kernel, node.stride, padding=padding, data_format=FORMAT, name=layer_name(path), dtype=policy
    )(x)
