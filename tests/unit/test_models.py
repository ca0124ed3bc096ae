"""`rn.build` and `rn.features`: native models from whatever names a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import resnet_core as rn
import resnet_numpy
from resnet_core.errors import WeightsError

SPEC = rn.spec("resnet_v2_50", channels=[4, 8], depths=[1, 1], classes=5, input_size=24)
WEIGHTS = rn.probe_weights(SPEC)
IMAGES = np.random.default_rng(0).standard_normal((2, 24, 24, 3)).astype(np.float32)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rn.save_weights(tmp_path / "weights.safetensors", WEIGHTS, SPEC)
    return tmp_path / "weights.safetensors"


def test_a_weight_file_in_the_place_of_a_spec_brings_its_weights(file: Path) -> None:
    whole = resnet_numpy.predict(rn.build(SPEC, "numpy", weights=WEIGHTS), IMAGES)
    np.testing.assert_array_equal(resnet_numpy.predict(rn.build(file, "numpy"), IMAGES), whole)
    np.testing.assert_array_equal(resnet_numpy.predict(rn.build(SPEC, "numpy", weights=file), IMAGES), whole)
    double = rn.build(file, "numpy", dtype="float64")
    assert {array.dtype.name for array in resnet_numpy.get_weights(double).values()} == {"float64"}
    assert not np.array_equal(resnet_numpy.predict(rn.build(SPEC, "numpy"), IMAGES), whole)


@pytest.mark.parametrize("given", ["weights", "file", "instead of the spec"])
def test_features_are_what_the_last_layer_reads(given: str, file: Path) -> None:
    if given == "instead of the spec":
        headless = rn.features(file, "numpy", dtype="float64")
    else:
        weights = rn.cast(WEIGHTS, "float64") if given == "weights" else file
        headless = rn.features(SPEC, "numpy", weights=weights, dtype="float64")
    vectors = resnet_numpy.predict(headless, IMAGES)
    assert vectors.shape == (2, 32)  # four times the last stage's 8 channels, a bottleneck's
    logits = resnet_numpy.predict(rn.build(file, "numpy", dtype="float64"), IMAGES)
    head = rn.cast(WEIGHTS, "float64")
    np.testing.assert_allclose(
        vectors @ head["head.linear.weight"].T + head["head.linear.bias"], logits, rtol=0, atol=1e-12
    )


def test_features_of_a_network_without_a_pool_are_a_map() -> None:
    dense = rn.features(rn.spec(SPEC, global_pool=False), "numpy", weights=WEIGHTS)
    assert resnet_numpy.predict(dense, IMAGES).ndim == 4


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(WeightsError, match="they belong to another spec"):
        rn.features("resnet20", "numpy", weights=WEIGHTS)
