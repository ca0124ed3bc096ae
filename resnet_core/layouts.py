"""The two kernel layouts: PyTorch's, which is the neutral one, and the one of channels-last frameworks.

Convolutions are OIHW (out, in, height, width) or HWIO (height, width, in, out), linear kernels (out, in) or
(in, out). Only kernels have more than one axis, so the rank decides what to do: vectors are the same in both.
"""

from __future__ import annotations

import numpy as np

from resnet_core.tree import Shape


def to_hwio(array: np.ndarray) -> np.ndarray:
    """A neutral tensor in the channels-last layout, as a view."""
    return array.transpose(_hwio_axes(array.ndim))


def to_oihw(array: np.ndarray) -> np.ndarray:
    """A tensor in the channels-last layout as a neutral one: a contiguous copy."""
    return np.array(array.transpose(_oihw_axes(array.ndim)), order="C")


def oihw_shape(shape: tuple[int, ...]) -> Shape:
    """The neutral shape of a tensor whose channels-last shape is given."""
    return tuple(shape[axis] for axis in _oihw_axes(len(shape)))


def _hwio_axes(rank: int) -> tuple[int, ...]:
    return (*range(2, rank), 1, 0) if rank > 1 else tuple(range(rank))


def _oihw_axes(rank: int) -> tuple[int, ...]:
    return (rank - 1, rank - 2, *range(rank - 2)) if rank > 1 else tuple(range(rank))
