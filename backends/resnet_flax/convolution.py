"""Convolution on maps smaller than the kernel: a workaround for XLA, needed only in this backend.

If the map has fewer pixels than the kernel, XLA swaps the two, and its CPU backend has no fast convolution for the
result: a network on 28 x 28 pictures spent most of its time there. A matrix product computes the same in a twentieth
of the time (jax 0.10.2, 3x3 on 256 maps of 2 x 2 x 256: 355 ms versus 19 forward, 403 versus 15 backward).
"""

from __future__ import annotations

from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax


def conv_general_dilated(inputs: Array, kernel: Array, window_strides: Any, padding: Any, **keywords: Any) -> Array:
    """`lax.conv_general_dilated` as nnx.Conv calls it: inputs (batch, height, width, channels), kernel HWIO."""
    size, window = inputs.shape[1:-1], kernel.shape[:-2]
    pads = lax.padtype_to_pads(size, window, window_strides, padding) if isinstance(padding, str) else padding
    output = [
        (pixels + before + after - width) // stride + 1
        for pixels, (before, after), width, stride in zip(size, pads, window, window_strides, strict=True)
    ]
    plain = keywords["feature_group_count"] == 1 and set(keywords["rhs_dilation"]) == {1}
    if jax.default_backend() == "cpu" and plain and min(output) > 0 and prod(output) < prod(window):
        return _as_product(inputs, kernel, window_strides, pads, output, keywords["precision"])
    return lax.conv_general_dilated(inputs, kernel, window_strides, padding, **keywords)


def _as_product(inputs: Array, kernel: Array, strides: Any, pads: Any, output: list[int], precision: Any) -> Array:
    """The pixels under the kernel at each position, side by side as a matrix, times the kernel as a matrix."""
    (high, wide), (down, right) = output, strides
    padded = jnp.pad(inputs, ((0, 0), *pads, (0, 0)))
    patches = [
        padded[:, row : row + down * high : down, column : column + right * wide : right]
        for row in range(kernel.shape[0])
        for column in range(kernel.shape[1])
    ]
    matrix = kernel.reshape(-1, kernel.shape[-1])
    return jnp.matmul(jnp.concatenate(patches, axis=-1), matrix, precision=precision)
