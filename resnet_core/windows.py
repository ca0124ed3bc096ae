"""Pools that no framework has a layer for, as slices and sums: on any framework's arrays, of any layout.

`first` is the axis of the height; the width is the next. `concatenate(arrays, axis)` is the framework's. The NumPy
reference has its own, written as indices, so that a slip here is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import add
from typing import Any

from resnet_core.padding import Pair

Concatenate = Callable[[list[Any], int], Any]


def dilated_average(x: Any, first: int, kernel: Pair, stride: Pair, dilation: Pair) -> Any:
    """Mean of windows whose pixels are `dilation` apart; every window is full."""
    for axis, (size, step, distance) in enumerate(zip(kernel, stride, dilation, strict=True), first):
        x = _weighted(x, axis, (1,) * size, step, distance)
    return x


def partial_average(x: Any, first: int, stride: Pair, dilation: Pair, concatenate: Concatenate) -> Any:
    """Mean of windows of two by two whose second pixel is `dilation` further on, or left out where the image ends."""
    for axis, (step, distance) in enumerate(zip(stride, dilation, strict=True), first):
        # What has no pixel that far behind it is averaged with itself.
        behind = concatenate([_cut(x, axis, distance, None), _cut(x, axis, -distance, None)], axis)
        x = (_cut(x, axis, None, None, step) + _cut(behind, axis, None, None, step)) / 2
    return x


def blurred(x: Any, first: int, stride: Pair, dilation: Pair, concatenate: Concatenate) -> Any:
    """(1, 2, 1) / 4 along both axes, reflected at the edges, at every stride-th pixel."""
    for axis, (step, distance) in enumerate(zip(stride, dilation, strict=True), first):
        before, behind = _cut(x, axis, distance, 2 * distance), _cut(x, axis, -2 * distance, -distance)
        x = _weighted(concatenate([before, x, behind], axis), axis, (1, 2, 1), step, distance)
    return x


def _weighted(x: Any, axis: int, weights: Sequence[int], stride: int, distance: int) -> Any:
    """Mean by `weights` of pixels that are `distance` apart, at every stride-th place where all of them are inside."""
    reach = (len(weights) - 1) * distance
    parts = (_cut(x, axis, k * distance, k * distance - reach or None, stride) for k in range(len(weights)))
    total = reduce(add, (part if weight == 1 else weight * part for weight, part in zip(weights, parts, strict=True)))
    return total / sum(weights)


def _cut(x: Any, axis: int, start: int | None, stop: int | None, step: int | None = None) -> Any:
    return x[(*(slice(None),) * axis, slice(start, stop, step))]
