"""Leaves that are no single layer of Keras': a few of its layers and operations, the last in the leaf's name."""

from __future__ import annotations

from math import pi, sqrt
from typing import Any

import keras
from keras import layers, ops

from resnet_core import tree
from resnet_core.training.running_variance import group_weights
from resnet_core.windows import blurred, dilated_average, partial_average
from resnet_keras.convolution import Conv2D, computing_on_cpu
from resnet_keras.normalization import UnbiasedBatchNormalization

FORMAT = "channels_last"
NONE = ((0, 0), (0, 0))  #: No padding.
ACTIVATIONS = {"silu": "silu", "hardswish": "hard_silu", "sigmoid": "sigmoid"}

Own = dict[str, Any]  #: a layer's name and dtype policy


def helper(own: Own, name: str) -> Own:
    """Those of a layer that helps another, whose name comes first."""
    return {**own, "name": f"{own['name']}_{name}"}


def activation(node: tree.Activation, x: Any, own: Own) -> Any:
    """By Keras' own where its numbers are exact: in float64, TensorFlow has a slope and roots of float32."""
    match node.function:
        case "relu6":
            return layers.ReLU(max_value=6.0, **own)(x)
        case "leaky_relu":
            x = ops.where(x > 0, x, tree.NEGATIVE_SLOPE * x)
        case "gelu":
            x = x * (1 + ops.erf(x / sqrt(2))) / 2
        case "gelu_tanh":
            x = x * (1 + ops.tanh(sqrt(2 / pi) * (x + 0.044715 * x * x * x))) / 2
        case function:
            return layers.Activation(ACTIVATIONS[function], **own)(x)
    return layers.Activation("linear", **own)(x)


def max_pool(node: tree.MaxPool, x: Any, own: Own) -> Any:
    """By Keras' layer, on a map that is padded with what never wins."""
    if node.padding not in ("same", NONE):
        x = ops.pad(x, ((0, 0), *node.padding, (0, 0)), constant_values=float("-inf"))
    padding = "same" if node.padding == "same" else "valid"
    return layers.MaxPooling2D(node.kernel, node.stride, padding=padding, data_format=FORMAT, **own)(x)


def average_pool(node: tree.AveragePool, x: Any, own: Own) -> Any:
    """By Keras' layer, or where it is dilated, direction by direction."""
    if node.dilation == (1, 1):  # "same" pads a window of two only where it reaches over the edge, and counts no zeros
        padding = "same" if node.partial else "valid"
        return layers.AveragePooling2D(node.kernel, node.stride, padding=padding, data_format=FORMAT, **own)(x)
    if node.partial:
        x = partial_average(x, 1, node.stride, node.dilation, ops.concatenate)
    else:
        x = dilated_average(x, 1, node.kernel, node.stride, node.dilation)
    return layers.Activation("linear", **own)(x)


def blur_pool(node: tree.BlurPool, x: Any, own: Own) -> Any:
    """In one direction after the other, on a map that is reflected about its edges."""
    return layers.Activation("linear", **own)(blurred(x, 1, node.stride, node.dilation, ops.concatenate))


def global_max_pool(x: Any, own: Own) -> Any:
    """By the first maximum's place: Keras' own layer shares the gradient among equal values."""
    pixels = layers.Reshape((-1, x.shape[-1]), **helper(own, "pixels"))(x)
    first = ops.argmax(pixels, axis=1, keepdims=True)
    return layers.Reshape((x.shape[-1],), **own)(ops.take_along_axis(pixels, first, axis=1))


def global_concat_pool(x: Any, own: Own) -> Any:
    """The average, then the maximum."""
    average = layers.GlobalAveragePooling2D(data_format=FORMAT, **helper(own, "average"))(x)
    return layers.Concatenate(axis=-1, **own)([average, global_max_pool(x, helper(own, "max"))])


def channel_conv(node: tree.ChannelConv, x: Any, own: Own) -> Any:
    """Over a sequence of one value for each channel; a vector again behind it."""
    (channels,) = x.shape[1:]
    sequence = layers.Reshape((channels, 1), **helper(own, "sequence"))(x)
    settings = {"use_bias": False, "kernel_initializer": "zeros", "data_format": FORMAT}
    convolved = layers.Conv1D(1, node.kernel, padding="same", activation=None, **settings, **own)(sequence)
    return layers.Reshape((channels,), **helper(own, "vector"))(convolved)


@keras.saving.register_keras_serializable(package="resnet_keras")
class StandardizedConv2D(Conv2D):
    """A convolution whose kernel of each output channel is first given mean 0 and variance 1.

    Keras has no such layer. A file of a model with this one is opened only where `resnet_keras.layers` is imported.
    """

    def __init__(self, *given: Any, standardize: float, **settings: Any) -> None:
        super().__init__(*given, **settings)
        self.standardize = standardize

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        kernel = ops.convert_to_tensor(kernel)
        wide = ops.cast(kernel, "float32") if self.compute_dtype in ("float16", "bfloat16") else kernel
        centered = wide - ops.mean(wide, axis=(0, 1, 2), keepdims=True)
        variance = ops.mean(centered * centered, axis=(0, 1, 2), keepdims=True)
        standardized = centered / ops.sqrt(variance + self.standardize)
        return super().convolution_op(inputs, ops.cast(standardized, kernel.dtype))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "standardize": self.standardize}


@keras.saving.register_keras_serializable(package="resnet_keras")
class Bfloat16Conv2D(Conv2D):
    """A convolution of bfloat16 tensors in a network of float32; the bias is added in float32.

    Not by Keras' mixed policy, with which a kernel would be rounded before it is standardized.
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        given = (_in_bfloat16(ops.convert_to_tensor(values)) for values in (inputs, kernel))
        return _rounded(ops.cast(super().convolution_op(*given), inputs.dtype))


def _in_bfloat16(values: Any) -> Any:
    """With its digits, and of that dtype; not on JAX on a CPU, which has no products of it that would be faster."""
    values = _rounded(values)
    return values if computing_on_cpu() == "jax" else ops.cast(values, "bfloat16")


def _rounded(values: Any) -> Any:
    """With bfloat16's digits already on JAX, where XLA leaves out a cast to it and back."""
    if keras.backend.backend() != "jax":
        return values
    from jax import lax

    return lax.reduce_precision(values, exponent_bits=8, mantissa_bits=7)


@keras.saving.register_keras_serializable(package="resnet_keras")
class Bfloat16StandardizedConv2D(StandardizedConv2D, Bfloat16Conv2D):
    """A standardized kernel, in a convolution of bfloat16."""


#: By whether kernels are standardized, and the dtype if it has its own.
CONVOLUTIONS: dict[tuple[bool, str | None], type[layers.Conv2D]] = {
    (False, None): layers.Conv2D,
    (True, None): StandardizedConv2D,
    (False, "bfloat16"): Bfloat16Conv2D,
    (True, "bfloat16"): Bfloat16StandardizedConv2D,
}


class GroupedBatchNormalization(UnbiasedBatchNormalization):
    """In training, each `rows` images of a batch by their own statistics; running ones learn from group after group.

    It has the same state, so an existing norm can be converted by changing its class.
    """

    rows: int

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if not (training and self.trainable):
            return super().call(inputs, training=training, mask=mask)
        _, height, width, channels = shape = ops.shape(inputs)
        groups, count = shape[0] // self.rows, self.rows * height * width
        values = ops.reshape(inputs, (groups, count, channels))
        mean = ops.mean(values, axis=1, keepdims=True)
        centered = values - mean
        variance = ops.mean(centered * centered, axis=1, keepdims=True)
        weights = group_weights(self.momentum, groups)[:, None]
        for moving, found in ((self.moving_mean, mean), (self.moving_variance, variance * (count / (count - 1)))):
            learned = ops.sum(ops.convert_to_tensor(weights, moving.dtype) * found[:, 0], axis=0)
            moving.assign(self.momentum**groups * moving.value + learned)
        outputs = centered * (self.gamma.value / ops.sqrt(variance + self.epsilon)) + self.beta.value
        return ops.reshape(outputs, shape)
