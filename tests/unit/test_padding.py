"""Padding becomes integers in one place, and they are TensorFlow's for "same"."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_core.padding import output_size, resolve, symmetric

PIXELS = st.integers(1, 40)
KERNEL, STRIDE, DILATION = st.integers(1, 9), st.integers(1, 5), st.integers(1, 4)


def windows(size: int, before: int, after: int, kernel: int, stride: int, dilation: int) -> int:
    """Number of windows that fit, by sliding one along."""
    reach = (kernel - 1) * dilation + 1
    return len(np.arange(-before, size + after - reach + 1, stride))


@given(n=PIXELS, k=KERNEL, s=STRIDE, d=DILATION)
def test_same_is_the_least_padding_that_gives_ceil_of_size_over_stride(n: int, k: int, s: int, d: int) -> None:
    (before, after), other = resolve("same", (k, k), (s, s), (d, d), (n, n))
    assert (before, after) == other
    assert 0 <= after - before <= 1  # an odd element stands after the image
    wanted = -(-n // s)
    total = next(pad for pad in range(200) if windows(n, 0, pad, k, s, d) >= wanted)
    assert before + after == total


@pytest.mark.parametrize(("size", "expected"), [(112, (0, 1)), (66, (0, 1)), (111, (1, 1)), (1, (1, 1)), (2, (0, 1))])
def test_slims_root_pool_pads_by_the_parity_of_its_input(size: int, expected: tuple[int, int]) -> None:
    assert resolve("same", (3, 3), (2, 2), (1, 1), (size, size)) == (expected, expected)


def test_each_axis_is_padded_for_itself() -> None:
    assert resolve("same", (3, 5), (2, 1), (1, 2), (33, 26)) == ((1, 1), (4, 4))
    assert resolve("same", (3, 3), (2, 2), (1, 1), (33, 26)) == ((1, 1), (0, 1))
    assert output_size("same", (3, 3), (2, 2), (1, 1), (33, 26)) == (17, 13)


def test_integers_are_returned_as_they_are() -> None:
    padding = ((0, 3), (2, 1))
    assert resolve(padding, (3, 3), (2, 2), (1, 1), (9, 9)) == padding


@given(n=PIXELS, k=st.integers(0, 4).map(lambda half: 2 * half + 1), d=DILATION)
def test_symmetric_padding_keeps_the_size_of_an_odd_kernel(n: int, k: int, d: int) -> None:
    assert output_size(symmetric(k, d), (k, k), (1, 1), (d, d), (n, n)) == (n, n)


@given(n=PIXELS, k=KERNEL, s=STRIDE, d=DILATION, before=st.integers(0, 5), after=st.integers(0, 5))
def test_output_size_counts_windows(n: int, k: int, s: int, d: int, before: int, after: int) -> None:
    size, _ = output_size(((before, after), (0, 0)), (k, 1), (s, 1), (d, 1), (n, 7))
    assert max(size, 0) == windows(n, before, after, k, s, d)
