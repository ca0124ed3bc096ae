"""torchvision's and tf_slim's recorded networks are what the specs of their names compute, in every backend."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import resnet_core as rn
from defects import WEIGHT_DEFECTS
from engine_pool import EnginePool
from referee_check import Defect, Referee, asked, measure, outputs, planted
from referee_slim import from_slim
from referees import draw
from resnet_core.tolerances import TOLERANCES

FIXTURES = Path(__file__).parents[1] / "referees"

TOLERANCE = TOLERANCES["recorded output"]

TORCHVISION = ("resnet18", "resnet50", "resnext50_32x4d")
SLIM = ("pooled", "dense16", "dense8")
NAMES = (*TORCHVISION, *SLIM)


@lru_cache(maxsize=1)
def referee(name: str) -> Referee:
    if name in TORCHVISION:
        case = _description("torchvision")["models"][name]
        state = draw.torchvision_state(_shapes(case), case["blocks"], case["seed"])
        spec, weights, file = rn.spec(name), rn.from_torchvision(state), f"torchvision_{name}.npz"
    else:
        case = _description("tf_slim")["cases"][name]
        state = draw.tf_slim_state(_shapes(case), case["blocks"], case["seed"])
        fields = {field: case[field] for field in ("classes", "global_pool", "output_stride")}
        spec, weights, file = rn.spec("resnet_v2_50", **fields), from_slim(state), f"tf_slim_{name}.npz"
    # A changed draw is no changed network.
    assert draw.absolute_sum(state) == pytest.approx(case["absolute_sum"], rel=1e-9)
    with np.load(FIXTURES / file) as archive:
        truth = dict(archive)
    images = truth.pop("input")
    if spec.global_pool:
        truth["logits"] = truth["logits"].reshape(len(images), -1)  # slim keeps a height and width of 1
    return Referee(spec, weights, images, truth)


@lru_cache(maxsize=1)
def found(pool: EnginePool, name: str, slow: bool) -> dict[tuple[str, str], dict[str, float]]:
    return outputs(pool, referee(name), slow)


def _description(program: str) -> Any:
    return json.loads((FIXTURES / f"{program}.json").read_text(encoding="utf-8"))


def _shapes(case: dict[str, Any]) -> dict[str, draw.Shape]:
    return {name: tuple(shape) for name, shape in case["state"].items()}


EVERYWHERE = ("resnet18", "pooled")


@pytest.mark.parametrize(("name", "engine", "dtype"), asked(NAMES, EVERYWHERE))
def test_logits_and_every_tap_equal_the_recorded_ones(
    pool: EnginePool, name: str, engine: str, dtype: str, long: bool
) -> None:
    errors = found(pool, name, long or name in EVERYWHERE)[engine, dtype]
    assert set(errors) == {"stem", "stage1", "stage2", "stage3", "stage4", "logits"}
    assert {tap: error for tap, error in errors.items() if not error <= TOLERANCE[dtype]} == {}


#: Every one is a ResNet that somebody else has shipped under the same name, or a slip in the transfer.
DEFECTS: dict[str, dict[str, Defect]] = {
    "resnet18": {
        "SAME max-pool": {"stem_pool_padding": "same"},
        "epsilon of Keras' default": {"norm_epsilon": 1e-3},
        "lost running mean": WEIGHT_DEFECTS["lost running mean"],
        "swapped gamma and variance": WEIGHT_DEFECTS["swapped gamma and variance"],
    },
    "resnet50": {
        "stride on the first 1x1": {"stride_on": "1x1"},
        "epsilon of Keras' default": {"norm_epsilon": 1e-3},
        "lost running variance": WEIGHT_DEFECTS["lost running variance"],
        "kernel transposed": WEIGHT_DEFECTS["kernels transposed"],
    },
    "resnext50_32x4d": {
        "stride on the first 1x1": {"stride_on": "1x1"},
        "groups dealt in the wrong order": WEIGHT_DEFECTS["groups dealt in the wrong order"],
        "swapped beta and mean": WEIGHT_DEFECTS["swapped beta and mean"],
    },
    "pooled": {
        "symmetric max-pool": {"stem_pool_padding": "symmetric"},
        "zeros around the max-pool": {"stem_pool_padding": "zeros"},
        "stride in the first unit": {"stride_unit": "first"},
        "stride on the first 1x1": {"stride_on": "1x1"},
        "epsilon of Keras' default": {"norm_epsilon": 1e-3},
        "lost bias": WEIGHT_DEFECTS["lost convolution bias"],
    },
    "dense16": {
        "stride kept": {"output_stride": None},
        "symmetric max-pool": {"stem_pool_padding": "symmetric"},
    },
    "dense8": {
        "stride kept at 16": {"output_stride": 16},
        "stride in the first unit": {"stride_unit": "first"},
    },
}
PLANTED = [(name, defect) for name in NAMES for defect in DEFECTS[name]]


@pytest.mark.parametrize(("name", "defect"), PLANTED)
def test_the_recorded_logits_catch(pool: EnginePool, name: str, defect: str) -> None:
    misread = planted(referee(name), DEFECTS[name][defect])
    assert measure(pool, misread, "torch", "float32")["logits"] > 1e-4


#: What no spec can say is planted in the backend's tree.
TREE_PLANTED = [("pooled", "projection reads the raw input"), ("dense16", "dilation lost"), ("dense8", "dilation lost")]


@pytest.mark.parametrize(("name", "defect"), TREE_PLANTED)
def test_the_recorded_logits_catch_a_wrong_tree(pool: EnginePool, name: str, defect: str) -> None:
    worker = pool.engine("torch", "float32")
    worker.call("defects:plant", name=defect)
    try:
        errors = measure(pool, referee(name), "torch", "float32")
    finally:
        worker.call("defects:plant", name=None)
    assert 1e-4 < errors["logits"] < float("inf")
