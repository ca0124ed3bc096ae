"""keras.applications' ResNet50 and ResNet50V2, run live, are what two specs compute, in every backend."""

from __future__ import annotations

from functools import lru_cache

import pytest

import resnet_core as rn
from defects import WEIGHT_DEFECTS
from engine_pool import TOLERANCE, EnginePool
from referee_check import Defect, Referee, asked, measure, outputs, planted
from referee_keras_applications import TAPS, from_keras_applications
from referees import draw

KERAS = {"norm_epsilon": 1.001e-5, "norm_decay": 0.99, "classes": 10}
SPECS = {
    # The stride on the first 1x1, as in 2015, and a bias on every convolution.
    "ResNet50": rn.spec("resnet50_v1", conv_bias=["stem", "inner", "last", "shortcut"], **KERAS),
    # slim's, but zeros around a max-pool of values that were never rectified.
    "ResNet50V2": rn.spec("resnet_v2_50", stem_pool_padding="zeros", **KERAS),
}

#: 33 x 26 where the max-pool is: one odd side, one even. keras.applications refuses sides below 32.
SHAPE = (2, 66, 52, 3)


@lru_cache(maxsize=1)
def referee(pool: EnginePool, name: str) -> Referee:
    seed = 2016 if name.endswith("V2") else 2015
    images = draw.image(SHAPE, seed)
    worker = pool.engine("keras", "float64")
    call = "referee_keras_applications:record"
    arrays = worker.call(call, {"images": images}, model=name, classes=10, seed=seed)[1]
    drawn = {key.removeprefix("weights/"): value for key, value in arrays.items() if key.startswith("weights/")}
    truth = {key.removeprefix("taps/"): value for key, value in arrays.items() if key.startswith("taps/")}
    return Referee(SPECS[name], from_keras_applications(drawn), images, truth)


@lru_cache(maxsize=1)
def found(pool: EnginePool, name: str, slow: bool) -> dict[tuple[str, str], dict[str, float]]:
    return outputs(pool, referee(pool, name), slow)


@pytest.mark.parametrize(("name", "engine", "dtype"), asked(SPECS))
def test_logits_and_every_stage_equal_keras_applications(
    pool: EnginePool, name: str, engine: str, dtype: str, long: bool
) -> None:
    errors = found(pool, name, long)[engine, dtype]
    assert set(errors) == set(TAPS)
    assert {tap: error for tap, error in errors.items() if not error <= TOLERANCE[dtype]} == {}


DEFECTS: dict[str, dict[str, Defect]] = {
    "ResNet50": {
        "stride on the 3x3": {"stride_on": "3x3"},
        "SAME max-pool": {"stem_pool_padding": "same"},
        "lost biases": WEIGHT_DEFECTS["lost convolution bias"],
        "swapped beta and mean": WEIGHT_DEFECTS["swapped beta and mean"],
    },
    "ResNet50V2": {
        "minus infinity around the max-pool": {"stem_pool_padding": "symmetric"},
        "SAME max-pool": {"stem_pool_padding": "same"},
        "stride in the first unit": {"stride_unit": "first"},
        "kernel transposed": WEIGHT_DEFECTS["kernels transposed"],
        "lost running variance": WEIGHT_DEFECTS["lost running variance"],
    },
}
PLANTED = [(name, defect) for name in SPECS for defect in DEFECTS[name]]


@pytest.mark.parametrize(("name", "defect"), PLANTED)
def test_the_logits_of_keras_applications_catch(pool: EnginePool, name: str, defect: str) -> None:
    misread = planted(referee(pool, name), DEFECTS[name][defect])
    assert measure(pool, misread, "torch", "float32")["logits"] > 1e-4


@pytest.mark.parametrize("name", SPECS)
def test_float64_tells_an_epsilon_of_1e_5_from_keras_1_001e_5(pool: EnginePool, name: str) -> None:
    misread = planted(referee(pool, name), {"norm_epsilon": 1e-5})
    error = measure(pool, misread, "torch", "float64")["logits"]
    assert 100 * TOLERANCE["float64"] < error < TOLERANCE["float32"]
