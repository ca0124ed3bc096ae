"""Tree nodes to Keras layers, one case each. Feature maps are (batch, height, width, channels)."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, field, replace
from typing import Any

import keras
from keras import layers

from resnet_core import tree
from resnet_core.errors import InputError
from resnet_core.tap_paths import Record
from resnet_keras import depth
from resnet_keras import layers as composed
from resnet_keras.convolution import quickened
from resnet_keras.layers import FORMAT, NONE

ZEROS = {"kernel_initializer": "zeros", "bias_initializer": "zeros"}


@dataclass(frozen=True)
class Pass:
    """One pass of the symbolic input through the tree: the layers' policy, and what it keeps for taps."""

    policy: keras.DTypePolicy
    record: Record = field(default_factory=Record)


def lower(node: tree.Node, x: Any, path: str, context: Pass) -> Any:
    """The output of one node for the symbolic input `x`. Parameters are zero until weights are set."""
    y = _lower(node, x, path, context)
    context.record.keep(path, y)
    return y


def _lower(node: tree.Node, x: Any, path: str, context: Pass) -> Any:
    own: dict[str, Any] = {"name": layer_name(path), "dtype": context.policy}
    match node:
        case tree.Chain():
            return _chain(node, x, path, context)
        case tree.Residual():
            return _residual(node, x, path, context)
        case tree.Gate():
            return _gate(node, x, path, context)
        case tree.Conv():
            return _conv(node, x, path, own)
        case tree.BatchNorm():
            numbers = {"momentum": node.decay, "epsilon": node.epsilon}
            return layers.BatchNormalization(axis=-1, center=True, scale=True, **numbers, **own)(x)
        case tree.FrozenNorm():
            numbers = {"momentum": 1.0, "epsilon": node.epsilon}
            return layers.BatchNormalization(axis=-1, center=True, scale=True, trainable=False, **numbers, **own)(x)
        case tree.GroupNorm():
            numbers = {"groups": node.groups, "epsilon": node.epsilon}
            return layers.GroupNormalization(axis=-1, center=True, scale=True, **numbers, **own)(x)
        case tree.LayerNorm():
            return layers.LayerNormalization(axis=-1, center=True, scale=True, epsilon=node.epsilon, **own)(x)
        case tree.ReLU():
            return layers.ReLU(**own)(x)
        case tree.Activation():
            return composed.activation(node, x, own)
        case tree.MaxPool():
            return composed.max_pool(node, x, own)
        case tree.AveragePool():
            return composed.average_pool(node, x, own)
        case tree.BlurPool():
            return composed.blur_pool(node, x, own)
        case tree.Pad():
            return layers.ZeroPadding2D(node.padding, data_format=FORMAT, **own)(x)
        case tree.Subsample():
            # A built-in layer that picks every stride-th pixel: a pool over windows of one.
            return layers.MaxPooling2D((1, 1), node.stride, padding="valid", data_format=FORMAT, **own)(x)
        case tree.PadChannels():
            # A built-in layer that pads the last two axes: the width by nothing, and the channels.
            return layers.ZeroPadding2D(((0, 0), (node.before, node.after)), data_format="channels_first", **own)(x)
        case tree.GlobalAveragePool():
            return layers.GlobalAveragePooling2D(data_format=FORMAT, **own)(x)
        case tree.GlobalMaxPool():
            return composed.global_max_pool(x, own)
        case tree.GlobalConcatPool():
            return composed.global_concat_pool(x, own)
        case tree.ChannelConv():
            return composed.channel_conv(node, x, own)
        case tree.Dropout():
            return layers.Dropout(node.rate, seed=_seed(path), **own)(x)
        case tree.DropPath():
            shape = (None, *(1,) * (len(x.shape) - 1))
            return layers.Dropout(node.rate, noise_shape=shape, seed=_seed(path), **own)(x)
        case tree.Linear():
            return layers.Dense(node.out_features, activation=None, use_bias=node.bias, **ZEROS, **own)(x)
    raise InputError(f"backend keras has no lowering for {type(node).__name__}; use another backend")


def layer_name(path: str) -> str:
    """The layer of a node: `stage1_block1_conv1` is stage1.block1.conv1. `neutral_path` is the way back."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._]*", path):
        raise InputError(f"{path}: is no name in Keras; rename the node with letters, digits and underscores")
    return path.translate(str.maketrans("._", "_-"))


def neutral_path(name: str) -> str:
    """The path of a layer's node in the tree."""
    return name.translate(str.maketrans("_-", "._"))


def is_deep(node: tree.Chain) -> bool:
    """Whether the parts of a chain are models of their own."""
    return depth.depth(node) > depth.DEEP


def part(node: tree.Node, x: Any, path: str, context: Pass, deep: bool) -> Any:
    """The output of a child of a chain, in a `deep` one by a model of its own."""
    if not deep or isinstance(node, tree.Leaf):
        return lower(node, x, path, context)
    inputs = keras.Input(x.shape[1:], dtype=x.dtype, name=layer_name(f"{path}.input"))
    return keras.Model(inputs, lower(node, inputs, path, context), name=layer_name(f"{path}.model"))(x)


def _chain(node: tree.Chain, x: Any, path: str, context: Pass) -> Any:
    deep, before = is_deep(node), None
    for name, child in node.children:
        end = tree.join(path, name)
        pool = child if isinstance(before, tree.ReLU) and isinstance(child, tree.MaxPool) else None
        if pool and pool.padding != "same" and pool.padding != NONE:  # zeros do, since nothing is below them
            x = lower(tree.Pad(pool.padding), x, f"{end}.pad", context)
            child = replace(pool, padding=NONE)
        x, before = part(child, x, end, context, deep), child
    return x


def _residual(node: tree.Residual, x: Any, path: str, context: Pass) -> Any:
    """post(body(p) + shortcut(p)) with p = pre(x)."""
    x = _chain(node.pre, x, path, context)
    shortcut = lower(node.shortcut, x, tree.join(path, "shortcut"), context)
    body, end = _chain(node.body, x, path, context), _end(path, "add", "addition", node.pre, node.body, node.post)
    return _chain(node.post, layers.Add(name=layer_name(end), dtype=context.policy)([body, shortcut]), path, context)


def _gate(node: tree.Gate, x: Any, path: str, context: Pass) -> Any:
    """x * body(x), with the factors shaped as a map of one pixel."""
    end = _end(path, "multiply", "multiplication", node.body)
    factors = _chain(node.body, x, path, context)
    if len(x.shape) > 2:
        shape = (1, 1, x.shape[-1])
        factors = layers.Reshape(shape, name=layer_name(f"{end}.factors"), dtype=context.policy)(factors)
    return layers.Multiply(name=layer_name(end), dtype=context.policy)([x, factors])


def _end(path: str, own: str, what: str, *chains: tree.Chain) -> str:
    """The path of what Keras has a layer for, and the tree has not."""
    end = tree.join(path, own)
    if any(name == own for chain in chains for name, _ in chain.children):
        raise InputError(f"{end}: is the name of the {what} in Keras; rename the node")
    return end


def _seed(path: str) -> int:
    """Of a random layer: Keras would draw one from Python's random numbers."""
    return zlib.crc32(path.encode()) & 0x7FFFFFFF  # PyTorch takes no larger one


def _conv(node: tree.Conv, x: Any, path: str, own: dict[str, Any]) -> Any:
    same = node.padding == "same" or _same_is_equal(node)
    if node.padding != "same" and not same and node.padding != NONE:
        x = lower(tree.Pad(node.padding), x, f"{path}.pad", Pass(own["dtype"]))
    more = {} if node.standardize is None else {"standardize": node.standardize}
    layer = composed.CONVOLUTIONS[bool(more), node.dtype](
        node.out_channels,
        node.kernel,
        strides=node.stride,
        padding="same" if same else "valid",
        data_format=FORMAT,
        dilation_rate=node.dilation,
        groups=node.groups,
        activation=None,
        use_bias=node.bias,
        **ZEROS,
        **more,
        **own,
    )
    return quickened(layer)(x)


def _same_is_equal(node: tree.Conv) -> bool:
    """Whether Keras' "same" pads these numbers at any size: at stride 1, both sides alike."""
    if node.padding == "same" or node.stride != (1, 1):
        return False
    return all(
        before == after and before + after == (kernel - 1) * dilation
        for (before, after), kernel, dilation in zip(node.padding, node.kernel, node.dilation, strict=True)
    )
