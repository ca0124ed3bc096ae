"""Convolutions that XLA computes slowly on a CPU, in the forms of `resnet_core.xla_forms`."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax import Array, lax

from resnet_core import xla_forms
from resnet_flax.repetition import IN_A_LOOP

#: Whether what is traced is compiled so that float32 convolutions are oneDNN's, which needs no other form of them.
BY_ONEDNN = ContextVar("BY_ONEDNN", default=False)


def conv_general_dilated(inputs: Array, kernel: Array, window_strides: Any, padding: Any, **keywords: Any) -> Array:
    """`lax.conv_general_dilated` as nnx.Conv calls it: inputs (batch, height, width, channels), kernel HWIO."""
    groups, onednn = keywords["feature_group_count"], BY_ONEDNN.get() and inputs.dtype == jnp.float32
    if jax.default_backend() != "cpu" or kernel.ndim != 4 or (onednn and groups > 1):
        return lax.conv_general_dilated(inputs, kernel, window_strides, padding, **keywords)
    convolved = xla_forms.convolved(
        jnp,
        inputs,
        kernel,
        stride=window_strides,
        padding="same" if padding == "SAME" else tuple(padding),
        dilation=tuple(keywords["rhs_dilation"]),
        groups=groups,
        own=lambda *given: lax.conv_general_dilated(
            *given, window_strides, padding, **{**keywords, "feature_group_count": 1}
        ),
        remade=jax.checkpoint,
        products=not onednn,
        slow=IN_A_LOOP.get(),
    )
    return cast(Array, convolved)
