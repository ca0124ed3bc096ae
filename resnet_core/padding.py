"""The one place where padding becomes integers."""

from __future__ import annotations

from typing import Literal

Pair = tuple[int, int]
Padding = tuple[Pair, Pair] | Literal["same"]


def symmetric(kernel: int, dilation: int = 1) -> tuple[Pair, Pair]:
    """((top, bottom), (left, right)) that preserves the size at stride 1 for an odd kernel."""
    amount = (kernel - 1) * dilation // 2
    return ((amount, amount), (amount, amount))


def resolve(padding: Padding, kernel: Pair, stride: Pair, dilation: Pair, size: Pair) -> tuple[Pair, Pair]:
    """Padding as ((top, bottom), (left, right)) for an input of `size` = (height, width).

    "same" follows TensorFlow: ceil(size / stride) outputs, with the odd element after the image. It depends on
    the input size, hence the arguments; any other padding is returned unchanged.
    """
    if padding != "same":
        return padding
    pairs = []
    for k, s, d, n in zip(kernel, stride, dilation, size, strict=True):
        total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
        pairs.append((total // 2, total - total // 2))
    return pairs[0], pairs[1]


def output_size(padding: Padding, kernel: Pair, stride: Pair, dilation: Pair, size: Pair) -> Pair:
    """(height, width) of a window's output for an input of `size`; below 1 if the kernel exceeds the padded input."""
    pads = resolve(padding, kernel, stride, dilation, size)
    height, width = (
        (n + sum(pad) - (k - 1) * d - 1) // s + 1
        for n, pad, k, s, d in zip(size, pads, kernel, stride, dilation, strict=True)
    )
    return height, width
