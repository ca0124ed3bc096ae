"""TF32's bound, from an emulation: what right hardware stays below, and what is beyond it."""

from __future__ import annotations

import numpy as np
import pytest

import resnet_core as rn
import resnet_numpy
from resnet_core.benchmark.precision import Precision
from resnet_core.benchmark.proof import OutputProof, draw_images
from resnet_core.tolerances import TOLERANCES
from resnet_core.weights import TF32
from toys.packages.toy_tensor import predict, rounded

BOUND = TOLERANCES["tf32 output"][TF32]
SIZE = (33, 47)


class Emulated:
    """resnet50 at full width, with its exact output."""

    def __init__(self) -> None:
        self.spec = rn.spec("resnet50")
        self.weights = rn.probe_weights(self.spec)
        self.model = resnet_numpy.build(self.spec, weights=self.weights)
        self.images = draw_images(self.spec, SIZE, 1)
        self.proof = OutputProof(
            self.images, np.asarray(resnet_numpy.predict(self.model, self.images)), Precision(TF32)
        )


@pytest.fixture(scope="module")
def emulated() -> Emulated:
    return Emulated()


def test_ten_bits_are_kept_to_nearest_or_cut_off() -> None:
    bits = 2.0**-10
    given = np.array([1 + bits / 2, 1 + bits / 4, -1 - 3 * bits / 4, 3.0, -(2.0**100)])
    assert rounded(given, "nearest").tolist() == [1 + bits, 1, -1 - bits, 3, -(2.0**100)]
    assert rounded(given, "cut").tolist() == [1, 1, -1, 3, -(2.0**100)]
    assert rounded(np.array([1 + 2.0**-7, 1 + 2.0**-9]), "brain").tolist() == [1 + 2.0**-7, 1]
    assert rounded(given, "full") is given


def test_tf32_is_within_half_of_its_bound_and_told_from_float32(emulated: Emulated) -> None:
    verdict = emulated.proof.judge("a", predict(emulated.model, emulated.images, "nearest"))
    assert verdict.problem is None
    assert verdict.error is not None
    assert 10 * TOLERANCES["output"]["float32"] < verdict.error < BOUND / 2  # 5.3e-4


@pytest.mark.parametrize("kind", ["cut", "brain"])
def test_factors_of_fewer_digits_are_beyond_it(kind: str, emulated: Emulated) -> None:
    verdict = emulated.proof.judge("a", predict(emulated.model, emulated.images, kind))
    assert "allowed is 2e-3" in str(verdict.problem)  # 7.5e-3 and 3.8e-3
    assert not verdict.absent


def test_another_network_is_beyond_it_in_tf32_too(emulated: Emulated) -> None:
    """Of which everything that tensors show is the same: norms with Keras' epsilon, a stride on another convolution."""
    for change in ({"norm_epsilon": 1e-3}, {"stride_on": "1x1"}):
        wrong = resnet_numpy.build(rn.spec(emulated.spec, **change), weights=emulated.weights)
        assert "the output differs by" in str(
            emulated.proof.judge("a", predict(wrong, emulated.images, "nearest")).problem
        )


def test_all_of_float32s_digits_are_not_tf32(emulated: Emulated) -> None:
    verdict = emulated.proof.judge("a", predict(emulated.model, emulated.images, "full").astype(np.float32))
    assert verdict.absent
    assert str(verdict.problem).startswith("TF32 was not used")
