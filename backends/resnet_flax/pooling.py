"""Max-pools whose gradient XLA computes slowly on a CPU, in the form of `resnet_core.xla_forms`."""

from __future__ import annotations

from typing import cast

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from resnet_core import xla_forms
from resnet_core.padding import Padding, Pair


def max_pool(x: Array, kernel: Pair, stride: Pair, padding: Padding) -> Array:
    """`nnx.max_pool`: the largest value of each window, whose padding never wins; of equal values the first counts."""
    if jax.default_backend() != "cpu":
        return nnx.max_pool(x, kernel, stride, "SAME" if padding == "same" else padding)
    return cast(Array, xla_forms.max_pool(jnp, x, kernel, stride, padding))
