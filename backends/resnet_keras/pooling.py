"""Max-pools whose gradient XLA computes slowly on a CPU, for Keras on JAX, in the form of `resnet_core.xla_forms`."""

from __future__ import annotations

from typing import Any

from keras import layers

from resnet_core import xla_forms
from resnet_core.padding import Padding
from resnet_keras.convolution import computing_on_cpu


class MaxPooling2D(layers.MaxPooling2D):
    """`keras.layers.MaxPooling2D`, by comparing slices on JAX.

    It has no state, so an existing pool can be converted by changing its class.
    """

    def call(self, inputs: Any) -> Any:
        if computing_on_cpu() != "jax":
            return super().call(inputs)
        import jax

        padding: Padding = "same" if self.padding == "same" else ((0, 0), (0, 0))
        return xla_forms.max_pool(jax.numpy, inputs, self.pool_size, self.strides, padding)
