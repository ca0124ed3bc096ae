"""Convolutions that XLA computes slowly on a CPU, written so that it computes them fast. Needed only in this backend.

Each is the same sum in another form, so that its derivatives are fast as well. Milliseconds with jax 0.10.2 on two
cores, of an AMD EPYC but for the last:

- a map smaller than the kernel, which XLA swaps with it, here 3x3 on 256 maps of 2x2x256: forward 355, as a product
  19; backward 403, as a product 15
- groups, here 32 of 4 channels, 3x3 on 8 maps of 56x56: forward 138, in fewer groups 40; forward and backward 11,700,
  in fewer groups 83
- 1x1 with stride 2, here 8 maps of 56x56x256 to 512: the kernel's gradient 45, of every second pixel 14
- 1x1, here 16 maps of 56x56x256 to 64 (Intel Xeon, Ice Lake): the kernel's gradient 64, as a product 19; forward and
  the input's gradient alike. A training step of ResNet-50, 16 images: 5.1 s, with products 3.3 s
- inside a loop, here 16 of 3x3 on 16 maps of 32x32x16 (the same Xeon): forward and backward 1,840, as products 166;
  written out 48, as products 112
"""

from __future__ import annotations

from contextvars import ContextVar
from functools import partial
from math import gcd, prod
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from resnet_flax.repetition import IN_A_LOOP

#: Whether what is traced is compiled so that float32 convolutions are oneDNN's, which needs no other form of them.
BY_ONEDNN = ContextVar("BY_ONEDNN", default=False)

#: Channels that a convolution has at least where groups are put together.
WIDTH = 64


def conv_general_dilated(inputs: Array, kernel: Array, window_strides: Any, padding: Any, **keywords: Any) -> Array:
    """`lax.conv_general_dilated` as nnx.Conv calls it: inputs (batch, height, width, channels), kernel HWIO."""
    size, window = inputs.shape[1:-1], kernel.shape[:-2]
    pads = lax.padtype_to_pads(size, window, window_strides, padding) if isinstance(padding, str) else padding
    output = [
        (pixels + before + after - width) // stride + 1
        for pixels, (before, after), width, stride in zip(size, pads, window, window_strides, strict=True)
    ]
    groups = keywords["feature_group_count"]
    if jax.default_backend() == "cpu" and len(window) == 2:
        rewritten = not BY_ONEDNN.get() or inputs.dtype != jnp.float32
        if groups > 1 and rewritten:
            return _in_fewer_groups(inputs, kernel, groups, partial(_convolved, window_strides, padding, keywords))
        if prod(window) == 1 and not any(map(sum, pads)) and rewritten:
            down, right = window_strides
            return _pixels_product(inputs[:, ::down, ::right], kernel[0, 0], keywords["precision"])
        slow = IN_A_LOOP.get() or prod(output) < prod(window)
        if slow and set(keywords["rhs_dilation"]) == {1} and min(output) > 0:
            product = partial(_as_product, window_strides, pads, output, keywords["precision"])
            return jax.checkpoint(product)(inputs, kernel)  # which makes the patches, of much memory, once more
    return lax.conv_general_dilated(inputs, kernel, window_strides, padding, **keywords)


def _convolved(strides: Any, padding: Any, keywords: Any, inputs: Array, kernel: Array) -> Array:
    return conv_general_dilated(inputs, kernel, strides, padding, **{**keywords, "feature_group_count": 1})


def _in_fewer_groups(inputs: Array, kernel: Array, groups: int, convolved: Any) -> Array:
    """Groups side by side in one kernel, zero between them, as many as make `WIDTH` channels; those one by one."""
    height, width, into, _ = kernel.shape
    together = gcd(groups, max(1, WIDTH // into))
    parts = groups // together
    apart = kernel.reshape(height, width, into, parts, together, -1)
    # (height, width, part, group in, channel in, group out, channel out)
    diagonal = jnp.einsum("hwipmo,mn->hwpnimo", apart, jnp.eye(together, dtype=kernel.dtype))
    kernels = diagonal.reshape(height, width, parts, together * into, -1)
    wide = together * into
    outputs = [convolved(inputs[..., part * wide : (part + 1) * wide], kernels[:, :, part]) for part in range(parts)]
    return jnp.concatenate(outputs, axis=-1) if parts > 1 else outputs[0]


def _pixels_product(inputs: Array, matrix: Array, precision: Any) -> Array:
    """Each pixel's channels times the matrix; as a product of two matrices, of which the gradients are two more."""
    pixels = jnp.matmul(inputs.reshape(-1, inputs.shape[-1]), matrix, precision=precision)
    return pixels.reshape(*inputs.shape[:-1], matrix.shape[-1])


def _as_product(strides: Any, pads: Any, output: list[int], precision: Any, inputs: Array, kernel: Array) -> Array:
    """The pixels under the kernel at each position, side by side as a matrix, times the kernel as a matrix."""
    (high, wide), (down, right) = output, strides
    padded = jnp.pad(inputs, ((0, 0), *pads, (0, 0)))
    patches = [
        padded[:, row : row + down * high : down, column : column + right * wide : right]
        for row in range(kernel.shape[0])
        for column in range(kernel.shape[1])
    ]
    matrix = kernel.reshape(-1, kernel.shape[-1])
    return _pixels_product(jnp.concatenate(patches, axis=-1), matrix, precision)
