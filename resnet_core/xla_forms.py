"""What XLA computes slowly on a CPU, as the same sum in another form, for the backends whose engine is JAX.

The derivatives of such a form are fast as well. `ops` is `jax.numpy`, which they bring along; `in_fewer_groups` takes
`keras.ops` too. Feature maps are (batch, height, width, channels), kernels (height, width, in, out). Milliseconds with
jax 0.10.2 on two cores, of an AMD EPYC but where another is named:

- a map smaller than the kernel, which XLA swaps with it, here 3x3 on 256 maps of 2x2x256: forward 355, as a product
  19; backward 403, as a product 15
- groups, here 32 of 4 channels, 3x3 on 8 maps of 56x56: forward 138, in fewer groups 40; forward and backward 11,700,
  in fewer groups 83
- 1x1 with stride 2, here 8 maps of 56x56x256 to 512: the kernel's gradient 45, of every second pixel 14
- 1x1, here 16 maps of 56x56x256 to 64 (Intel Xeon, Ice Lake): the kernel's gradient 64, as a product 19; forward and
  the input's gradient alike. A training step of ResNet-50, 16 images: 5.1 s, with products 3.3 s
- inside a loop, here 16 of 3x3 on 16 maps of 32x32x16 (the same Xeon): forward and backward 1,840, as products 166;
  written out 48, as products 112
- a max-pool's gradient, here 3x3 with stride 2 on 16 maps of 112x112x64: 182 versus 56, forward included; forward
  alone 17 versus 14
- sums over the pixels of each channel, and the gradients of what was spread over them, on which a network with batch
  norms spent a third of a training step; here of 16 maps of 14x14x1024: 106, as products 11; of 56x56x256: 200 and 104.
  Products round less. XLA's other way to add, in YNNPACK, is as fast, and wrong on some machines (jax#39103); it is off
  (`engines.tell_xla`)
"""

from __future__ import annotations

from collections.abc import Callable
from math import gcd, prod
from typing import Any

from resnet_core.padding import Padding, Pair, output_size, resolve

#: Channels that a convolution has at least where groups are put together.
WIDTH = 64


def convolved(
    ops: Any,
    inputs: Any,
    kernel: Any,
    *,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    own: Callable[[Any, Any], Any],
    remade: Callable[[Any], Any],
    products: bool = True,
    slow: bool = False,
) -> Any:
    """A convolution. `own(inputs, kernel)` is the framework's own, without groups.

    `remade` makes a function whose intermediate values are computed once more backward, rather than kept. `products`:
    whether those of 1x1 are better so; `slow`: whether all others are as well.
    """

    def single(inputs: Any, kernel: Any) -> Any:
        window, size = kernel.shape[:2], inputs.shape[1:3]
        pads = resolve(padding, window, stride, dilation, size)
        if products and prod(window) == 1 and not any(map(sum, pads)):
            return _pixels_product(ops, inputs[:, :: stride[0], :: stride[1]], kernel[0, 0])
        output = output_size(pads, window, stride, dilation, size)
        if (slow or prod(output) < prod(window)) and dilation == (1, 1) and min(output) > 0:
            product = remade(lambda inputs, kernel: _as_product(ops, inputs, kernel, stride, pads, output))
            return product(inputs, kernel)
        return own(inputs, kernel)

    return in_fewer_groups(ops, inputs, kernel, groups, single) if groups > 1 else single(inputs, kernel)


def in_fewer_groups(ops: Any, inputs: Any, kernel: Any, groups: int, convolution: Callable[[Any, Any], Any]) -> Any:
    """Groups side by side in one kernel, zero between them, as many as make `WIDTH` channels; those one by one."""
    height, width, into, _ = kernel.shape
    together = gcd(groups, max(1, WIDTH // into))
    parts, wide = groups // together, together * into
    apart = ops.reshape(kernel, (height, width, into, parts, together, -1))
    # (height, width, part, group in, channel in, group out, channel out)
    diagonal = ops.einsum("hwipmo,mn->hwpnimo", apart, ops.eye(together, dtype=kernel.dtype))
    kernels = ops.reshape(diagonal, (height, width, parts, wide, -1))
    outputs = [convolution(inputs[..., part * wide : (part + 1) * wide], kernels[:, :, part]) for part in range(parts)]
    return ops.concatenate(outputs, -1) if parts > 1 else outputs[0]


def _pixels_product(ops: Any, inputs: Any, matrix: Any) -> Any:
    """Each pixel's channels times the matrix; as a product of two matrices, of which the gradients are two more."""
    pixels = ops.matmul(ops.reshape(inputs, (-1, inputs.shape[-1])), matrix)
    return ops.reshape(pixels, (*inputs.shape[:-1], matrix.shape[-1]))


def max_pool(ops: Any, x: Any, kernel: Pair, stride: Pair, padding: Padding) -> Any:
    """The largest value of each window, whose padding never wins; of equal values the first counts."""
    pads = resolve(padding, kernel, stride, (1, 1), x.shape[1:3])
    padded = ops.pad(x, ((0, 0), *pads, (0, 0)), constant_values=float("-inf"))
    largest, *others = _slices(padded, kernel, stride, output_size(pads, kernel, stride, (1, 1), x.shape[1:3]))
    for other in others:
        largest = ops.where((other > largest) | ops.isnan(other), other, largest)
    return largest


def batch_norm(ops: Any, x: Any, scale: Any, bias: Any, epsilon: float, rows: Any = None) -> tuple[Any, Any, Any]:
    """(x normalized by its own statistics, mean, biased variance), each sum over pixels a product with ones.

    `rows`: (batch,), 1 for those that statistics are about, and 0 for others; without it, they are about all.
    """
    batch, height, width, _ = x.shape
    ones = ops.ones((batch,), dtype=x.dtype)
    count = (batch if rows is None else ops.sum(rows)) * (height * width)
    rows = ones if rows is None else rows
    mean = _total(ops, x, rows) / count
    centered = x - _spread(ops, mean, x)
    variance = _total(ops, centered * centered, rows) / count
    factor = scale / ops.sqrt(variance + epsilon)
    return centered * _spread(ops, factor, x) + _spread(ops, bias, x), mean, variance


def _as_product(ops: Any, inputs: Any, kernel: Any, stride: Pair, pads: tuple[Pair, Pair], output: Pair) -> Any:
    """The pixels under the kernel at each position, side by side as a matrix, times the kernel as a matrix."""
    slices = _slices(ops.pad(inputs, ((0, 0), *pads, (0, 0))), kernel.shape[:2], stride, output)
    return _pixels_product(ops, ops.concatenate(slices, -1), ops.reshape(kernel, (-1, kernel.shape[-1])))


def _slices(padded: Any, window: Pair, stride: Pair, output: Pair) -> list[Any]:
    """For each place in the window, what lies there at every position."""
    (high, wide), (down, right) = output, stride
    return [
        padded[:, row : row + down * high : down, column : column + right * wide : right]
        for row in range(window[0])
        for column in range(window[1])
    ]


def _total(ops: Any, x: Any, rows: Any) -> Any:
    """(batch, height, width, channels) to (channels,): the sum over everything else, of rows by their weights."""
    batch, height, width, channels = x.shape
    pixels = ops.reshape(x, (batch, height * width, channels))
    weights = ops.broadcast_to(rows[:, None], (batch, height * width))
    return ops.sum(ops.einsum("bn,bnc->bc", weights, pixels, precision="highest"), 0)


def _spread(ops: Any, values: Any, like: Any) -> Any:
    """(channels,) to the shape of `like`; the derivative is a `_total`."""
    batch, height, width, channels = like.shape
    ones = ops.ones((batch, height * width), dtype=like.dtype)
    spread = ops.einsum("bn,bc->bnc", ones, ops.broadcast_to(values, (batch, channels)), precision="highest")
    return ops.reshape(spread, (batch, height, width, channels))
