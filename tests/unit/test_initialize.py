"""One seed is one network: the distributions that are promised, and bits that never change."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import resnet_core as rn
from random_specs import specs
from resnet_core import InputError, ResNetSpec
from resnet_core.safetensors_file import digest
from resnet_core.weights import Weights

WIDE = ResNetSpec(
    depths=(1, 1),
    channels=(64, 128),
    block="basic",
    groups=2,
    width_per_group=32,
    classes=100,
    conv_bias=("stem", "inner", "last"),
)
CONV, LINEAR = "stage2.block1.conv1.weight", "head.linear.weight"
FAN_IN, FAN_OUT = 64 // 2 * 9, 128 * 9


def drawn(initializer: str, **overrides: Any) -> Weights:
    return rn.initialize(rn.spec(WIDE, initializer=initializer, **overrides), seed=3)


def assert_normal(values: np.ndarray, deviation: float) -> None:
    """Mean, deviation and tails of N(0, deviation²), each within five standard errors."""
    z = values.astype(np.float64).ravel() / deviation
    error = 5 / sqrt(z.size)
    assert abs(z.mean()) < error
    assert abs(z.std() - 1) < error
    assert abs((np.abs(z) > 2).mean() - 0.0455) < error * 0.21


def assert_uniform(values: np.ndarray, bound: float) -> None:
    """U(-bound, bound): the whole support and nothing outside, mean and deviation."""
    u = values.astype(np.float64).ravel() / bound
    error = 5 / sqrt(u.size)
    assert np.abs(u).max() <= 1 + 1e-6
    assert np.abs(u).max() > 1 - 10 / u.size
    assert abs(u.mean()) < error
    assert abs(u.std() - sqrt(1 / 3)) < error


def test_torchvision_draws_kernels_by_fan_out_and_the_rest_as_pytorch_does() -> None:
    weights = drawn("torchvision")
    assert_normal(weights[CONV], sqrt(2 / FAN_OUT))
    assert_uniform(weights[LINEAR], 1 / sqrt(128))
    assert_uniform(weights["stage2.block1.conv1.bias"], 1 / sqrt(FAN_IN))


def test_he_draws_kernels_by_fan_in_with_zero_biases() -> None:
    weights = drawn("he")
    assert_normal(weights[CONV], sqrt(2 / FAN_IN))
    assert_normal(weights[LINEAR], sqrt(2 / 128))
    assert not weights["stem.conv.bias"].any()
    assert not weights["head.linear.bias"].any()


def test_slim_cuts_its_normal_at_two_deviations() -> None:
    weights = drawn("slim")
    z = weights[CONV].astype(np.float64) / sqrt(1.3 * 2 / FAN_IN)
    assert 1.99 < np.abs(z).max() <= 2 + 1e-6
    assert abs(z.mean()) < 5 / sqrt(z.size)
    assert abs(z.std() - 0.87962566) < 5 / sqrt(z.size)  # of the normal cut at 2
    assert not weights["stem.conv.bias"].any()


def test_xavier_draws_uniformly_by_both_fans() -> None:
    weights = drawn("xavier")
    assert_uniform(weights[CONV], sqrt(6 / (FAN_IN + FAN_OUT)))
    assert_uniform(weights[LINEAR], sqrt(6 / (128 + 100)))
    assert_uniform(weights["stage2.block1.conv1.bias"], 1 / sqrt(FAN_IN))


@pytest.mark.parametrize("initializer", ["torchvision", "he", "slim", "xavier"])
def test_norms_start_as_the_identity(initializer: str) -> None:
    for name, array in drawn(initializer).items():
        if ".norm" in name:
            assert (array == float(name.endswith(("weight", "running_var")))).all(), name


@pytest.mark.parametrize("preactivation", [False, True])
def test_zero_init_residual_zeroes_the_end_of_every_body_and_nothing_else(preactivation: bool) -> None:
    plain = drawn("he", preactivation=preactivation)
    zeroed = drawn("he", preactivation=preactivation, zero_init_residual=True)
    end = "conv2" if preactivation else "norm2"
    for name, array in zeroed.items():
        if name.endswith(f"{end}.weight"):
            assert not array.any(), name
            assert plain[name].any(), name
        else:
            np.testing.assert_array_equal(array, plain[name])


def test_a_block_whose_end_is_zero_is_its_shortcut() -> None:
    spec = rn.spec(WIDE, zero_init_residual=True, channels=(64, 64), strides=(1, 1), in_channels=64, stem=False)
    images = np.random.default_rng(0).standard_normal((1, 5, 4, 64))
    model = rn.build(spec, "numpy", taps=("stage1", "stage2"), dtype="float64")
    output = rn.load_backend("numpy").predict(model, images)
    np.testing.assert_array_equal(output["stage2"], np.maximum(images, 0))


@given(spec=specs(), seed=st.integers(0, 2**63))
def test_one_seed_is_the_same_bits_in_float32_and_float64(spec: ResNetSpec, seed: int) -> None:
    single, again, double = (rn.initialize(spec, seed, dtype) for dtype in ("float32", "float32", "float64"))
    assert list(single) == list(rn.state(spec))
    for name, array in single.items():
        assert array.dtype == np.float32
        assert double[name].dtype == np.float64
        assert array.shape == rn.state(spec)[name]
        np.testing.assert_array_equal(array, again[name])
        np.testing.assert_array_equal(array, double[name])


def test_another_seed_is_another_network() -> None:
    one, other = rn.initialize(WIDE, 0), rn.initialize(WIDE, 1)
    assert not (one[CONV] == other[CONV]).any()


def test_a_layer_more_elsewhere_changes_nothing() -> None:
    small, large = rn.initialize(WIDE, 5), rn.initialize(rn.spec(WIDE, depths=(2, 3), conv_bias=("shortcut",)), 5)
    common = small.keys() & large.keys()
    assert {"stem.conv.weight", CONV, LINEAR} <= common
    for name in common:
        np.testing.assert_array_equal(small[name], large[name])


@pytest.mark.parametrize("seed", [-1, 1.5, "0", None])
def test_a_seed_that_is_no_natural_number_is_one_clear_line(seed: Any) -> None:
    with pytest.raises(InputError, match=r"^seed: received .*; expected an integer from 0$"):
        rn.initialize(WIDE, seed)


def test_an_unknown_dtype_is_one_clear_line() -> None:
    with pytest.raises(InputError, match=r"^dtype: received 'float16'; expected one of float32, float64$"):
        rn.initialize(WIDE, dtype="float16")


# Recorded with NumPy 2.4.6. A change here is a change of everybody's seed 0.
RECORDED = {
    "torchvision": "5d4a1c0a94fe1a27",
    "he": "2697bdcc617c7bf1",
    "slim": "d3db8109b4b23171",
    "xavier": "d8f00825244e8b8f",
    "probe": "0956d2062c4f489e",
}


@pytest.mark.parametrize("initializer", RECORDED)
def test_the_stream_of_seed_0_has_not_changed(initializer: str) -> None:
    spec = ResNetSpec(depths=(1,), channels=(4,), block="bottleneck", conv_bias=("stem", "last"), classes=3)
    if initializer == "probe":
        weights = rn.probe_weights(spec)
    else:
        weights = rn.initialize(rn.spec(spec, initializer=initializer))
    assert digest(weights)[:16] == RECORDED[initializer]


@given(spec=specs())
def test_probe_weights_show_every_mapping_error(spec: ResNetSpec) -> None:
    """No tensor is constant 0 or 1, and no two of a norm's four are alike."""
    weights = rn.probe_weights(spec, seed=1)
    for name, array in weights.items():
        assert np.isfinite(array).all()
        assert not np.isin(array, (0, 1)).any(), name
    flat = [array.ravel()[:1].tobytes() for array in weights.values()]
    assert len(set(flat)) == len(flat)


def test_probe_logits_stay_near_one_at_any_depth() -> None:
    for depth in (1, 60):
        spec = rn.spec("resnet20", depths=(depth,) * 3, channels=(4, 6, 8))
        model = rn.build(spec, "numpy", weights=rn.probe_weights(spec, dtype="float64"), dtype="float64")
        images = np.random.default_rng(0).standard_normal((2, 16, 16, 3))
        assert 0.05 < np.abs(rn.load_backend("numpy").predict(model, images)).max() < 50
