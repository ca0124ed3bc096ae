"""Two ResNets written out from a book and a paper are what two specs of the zoo compute, in every backend."""

from __future__ import annotations

import re
from functools import lru_cache

import pytest

import resnet_core as rn
from defects import WEIGHT_DEFECTS
from engine_pool import TOLERANCE, EnginePool
from referee_check import Defect, Referee, asked, measure, outputs, planted
from referees import draw

#: One odd side, one even, where the max-pool and the strides sit.
CASES = {
    "D2L": (rn.spec("resnet18_d2l"), (2, 66, 52, 1), 86),
    "Paper50": (rn.spec("resnet50_v1", classes=10), (2, 66, 52, 3), 1512),
}


@lru_cache(maxsize=1)
def referee(pool: EnginePool, name: str) -> Referee:
    spec, shape, seed = CASES[name]
    images = draw.image(shape, seed)
    worker = pool.engine("torch", "float64")
    renames, arrays = worker.call("referee_papers:record", {"images": images}, model=name, classes=10, seed=seed)
    weights = {_rename(key[8:], renames): value for key, value in arrays.items() if key.startswith("weights/")}
    truth = {key[5:]: value for key, value in arrays.items() if key.startswith("taps/")}
    return Referee(spec, weights, images, truth)


def _rename(key: str, renames: list[tuple[str, str]]) -> str:
    module, _, leaf = key.rpartition(".")
    for pattern, name in renames:
        if match := re.fullmatch(pattern, module):
            numbers = list(match.groups())
            if len(numbers) > 1:
                numbers[1] = str(int(numbers[1]) + 1)  # blocks count from 1 here
            return f"{name.format(*numbers)}.{leaf}"
    raise AssertionError(f"{key} has no neutral name")


@lru_cache(maxsize=1)
def found(pool: EnginePool, name: str, slow: bool) -> dict[tuple[str, str], dict[str, float]]:
    return outputs(pool, referee(pool, name), slow)


EVERYWHERE = ("D2L",)


@pytest.mark.parametrize(("name", "engine", "dtype"), asked(CASES, EVERYWHERE))
def test_logits_and_every_stage_equal_the_description(
    pool: EnginePool, name: str, engine: str, dtype: str, long: bool
) -> None:
    errors = found(pool, name, long or name in EVERYWHERE)[engine, dtype]
    assert set(errors) == {"stem", "stage1", "stage2", "stage3", "stage4", "logits"}
    assert {tap: error for tap, error in errors.items() if not error <= TOLERANCE[dtype]} == {}


DEFECTS: dict[str, dict[str, Defect]] = {
    "D2L": {
        "lost biases": WEIGHT_DEFECTS["lost convolution bias"],
        "SAME max-pool": {"stem_pool_padding": "same"},
        "epsilon of Keras' default": {"norm_epsilon": 1e-3},
        "lost running mean": WEIGHT_DEFECTS["lost running mean"],
    },
    "Paper50": {
        "torchvision's stride": {"stride_on": "3x3"},
        "SAME max-pool": {"stem_pool_padding": "same"},
        "swapped gamma and variance": WEIGHT_DEFECTS["swapped gamma and variance"],
    },
}
PLANTED = [(name, defect) for name in CASES for defect in DEFECTS[name]]


@pytest.mark.parametrize(("name", "defect"), PLANTED)
def test_the_described_logits_catch(pool: EnginePool, name: str, defect: str) -> None:
    misread = planted(referee(pool, name), DEFECTS[name][defect])
    assert measure(pool, misread, "torch", "float32")["logits"] > 1e-4
