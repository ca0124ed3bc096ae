"""Kernels in PyTorch's layout and with channels last."""

from __future__ import annotations

import numpy as np
import pytest

from resnet_core.layouts import oihw_shape, to_hwio, to_oihw


@pytest.mark.parametrize(
    ("neutral", "channels_last"), [((5, 4, 3, 2), (3, 2, 4, 5)), ((5, 4), (4, 5)), ((5,), (5,)), ((5, 4, 3), (3, 4, 5))]
)
def test_a_tensor_in_both_layouts(neutral: tuple[int, ...], channels_last: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).standard_normal(neutral)
    moved = to_hwio(array)
    assert moved.shape == channels_last
    assert oihw_shape(channels_last) == neutral
    back = to_oihw(moved)
    assert back.flags.c_contiguous
    assert not np.shares_memory(back, array)
    np.testing.assert_array_equal(back, array)


def test_every_number_of_a_kernel_goes_to_its_place() -> None:
    array = np.random.default_rng(0).standard_normal((5, 4, 3, 2))
    for out, into, row, column in np.ndindex(*array.shape):
        assert to_hwio(array)[row, column, into, out] == array[out, into, row, column]
