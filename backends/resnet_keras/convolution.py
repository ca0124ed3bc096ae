"""Convolutions that an engine of Keras computes slowly on a CPU: in groups on TensorFlow, and those of XLA on JAX.

Keras has XLA compute TensorFlow's convolutions in groups, since of TensorFlow's own only oneDNN's have gradients on a
CPU. Those are used here where they are; elsewhere, as in float64, the groups are put together.
"""

from __future__ import annotations

from functools import cache, partial
from types import MethodType
from typing import Any

import keras
from keras import layers, ops

from resnet_core import xla_forms


def convolution_op(self: layers.Conv2D, inputs: Any, kernel: Any) -> Any:
    """`keras.layers.Conv2D.convolution_op` in a form that the engine computes fast."""
    kernel = ops.convert_to_tensor(kernel)
    own = partial(layers.Conv2D.convolution_op, self)
    match computing_on_cpu():
        case "tensorflow" if self.groups > 1 and _has_gradients(inputs.dtype.name):
            return _tensorflows_own(self, inputs, kernel)
        case "tensorflow" if self.groups > 1:
            return xla_forms.in_fewer_groups(ops, inputs, kernel, self.groups, own)
        case "jax":
            return _on_jax(self, inputs, kernel, own)
    return own(inputs, kernel)


class Conv2D(layers.Conv2D):
    """What the convolutions that Keras lacks are made of."""

    convolution_op = convolution_op


def quickened(layer: layers.Conv2D) -> layers.Conv2D:
    """The same layer, which computes by `convolution_op` if that matters; saved, it is a plain one of Keras'."""
    if not isinstance(layer, Conv2D) and (layer.groups > 1 or keras.backend.backend() == "jax"):
        layer.convolution_op = MethodType(convolution_op, layer)
    return layer


def computing_on_cpu() -> str | None:
    """Keras' engine, if it computes on a CPU."""
    engine = keras.backend.backend()
    if engine == "jax":
        import jax

        return engine if jax.default_backend() == "cpu" else None
    if engine == "tensorflow":
        import tensorflow

        return None if tensorflow.config.list_logical_devices("GPU") else engine
    return None


@cache
def _has_gradients(dtype: str) -> bool:
    """Whether TensorFlow itself has gradients of convolutions in groups: oneDNN has, for these dtypes, and is asked."""
    if dtype not in ("float32", "bfloat16"):
        return False
    import tensorflow

    try:
        with tensorflow.init_scope():  # at once, also while a function is traced
            pixel = tensorflow.zeros((1, 1, 1, 2), dtype)  # and a kernel of two groups
            settings = {"filter_sizes": pixel.shape, "strides": [1, 1, 1, 1], "padding": "VALID"}
            tensorflow.raw_ops.Conv2DBackpropFilter(input=pixel, out_backprop=pixel, **settings)
    except tensorflow.errors.OpError:
        return False
    return True


def _tensorflows_own(layer: layers.Conv2D, inputs: Any, kernel: Any) -> Any:
    import tensorflow

    padding, dilation = layer.padding.upper(), layer.dilation_rate
    return tensorflow.nn.convolution(inputs, kernel, layer.strides, padding, dilations=dilation)


def _on_jax(layer: layers.Conv2D, inputs: Any, kernel: Any, own: Any) -> Any:
    import jax  # whose own operations are exact in float64, which Keras' are not on JAX

    return xla_forms.convolved(
        jax.numpy,
        inputs,
        kernel,
        stride=layer.strides,
        padding="same" if layer.padding == "same" else ((0, 0), (0, 0)),
        dilation=layer.dilation_rate,
        groups=layer.groups,
        own=own,
        remade=jax.checkpoint,
    )
