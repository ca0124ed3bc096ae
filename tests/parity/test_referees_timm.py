"""timm's recorded networks are what the specs of their names compute, in every backend."""

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
from referee_check import RUNS, Defect, Referee, measure, outputs, planted
from referee_timm import from_timm
from referees import draw
from resnet_core.tolerances import TOLERANCES
from resnet_core.weights import Weights

FIXTURES = Path(__file__).parents[1] / "referees"
MODELS: dict[str, Any] = json.loads((FIXTURES / "timm.json").read_text(encoding="utf-8"))["models"]
TOLERANCE = TOLERANCES["recorded output"]

RECORDED = ("stage4", "logits")

#: How far timm's own float32 is from its float64 (1.0.31, torch 2.14.1, these weights and images), where that is more
#: than the usual limit: nothing here can be nearer. What is wrong is seen in float64.
OWN_NOISE = {"resnetv2_50x1_bit": 2.8e-5}

#: What timm calls a field.
FIELDS = {"num_classes": "classes", "layers": "depths", "channels": "channels"}

#: The narrow ones; the others have their published widths.
NARROW = ("resnet18d", "resnetv2_18d", "resnetblur18")
CASES = [
    pytest.param(name, engine, dtype, marks=() if name in NARROW else pytest.mark.long)
    for name in MODELS
    for engine, dtype in RUNS
]


@lru_cache(maxsize=1)
def referee(name: str) -> Referee:
    case = MODELS[name]
    given = case["arguments"]
    fields = {FIELDS[argument]: value for argument, value in given.items() if argument in FIELDS}
    if "channels" in given:  # timm's stem does not follow them, but is twice its stem_width where it is deep
        deep = rn.spec(name).stem_type != "conv" and "stem_width" in given
        fields["stem_channels"] = 2 * given["stem_width"] if deep else 64
    spec = rn.spec(name, **fields)
    state = draw.timm_state({key: tuple(shape) for key, shape in case["state"].items()}, case["blocks"], case["seed"])
    assert draw.absolute_sum(state) == pytest.approx(case["absolute_sum"], rel=1e-9)  # a changed draw is no network
    with np.load(FIXTURES / "timm.npz") as archive:
        truth = {tap: archive[f"{name}/{tap}"] for tap in RECORDED}
    images = draw.image(tuple(case["input_shape"]), case["seed"])
    return Referee(spec, from_timm(state, rn.state(spec)), images, truth)


@lru_cache(maxsize=1)
def found(pool: EnginePool, name: str) -> dict[tuple[str, str], dict[str, float]]:
    return outputs(pool, referee(name), slow=True)


@pytest.mark.parametrize(("name", "engine", "dtype"), CASES)
def test_logits_and_the_last_stage_equal_timms(pool: EnginePool, name: str, engine: str, dtype: str) -> None:
    errors = found(pool, name)[engine, dtype]
    limit = max(TOLERANCE[dtype], OWN_NOISE.get(name, 0.0) if dtype == "float32" else 0.0)
    assert {tap: errors[tap] for tap in RECORDED if not errors[tap] <= limit} == {}


def _without(part: str) -> Defect:
    def zeros(weights: Weights) -> Weights:
        return {name: np.zeros_like(value) if part in name else value for name, value in weights.items()}

    return zeros


#: Every one is another network with the same tensors, or a slip in the transfer.
DEFECTS: dict[str, Defect] = {
    "resnet18d": {"shortcut_pool": "none"},
    "resnet50d": {"shortcut_pool": "blur"},
    "seresnet50": _without("se.reduce.bias"),
    "seresnext50_32x4d": WEIGHT_DEFECTS["groups dealt in the wrong order"],
    "ecaresnet50d": WEIGHT_DEFECTS["channel kernels flipped"],
    "ecaresnetlight": {"shortcut_pool": "none"},
    "resnetblur50": {"antialias": "none"},
    "resnetblur18": {"antialias": "average"},
    "resnet50_gn": {"norm_groups": 16},
    "resnetv2_18d": {"stem_pool_padding": "zeros"},
    "resnetv2_50d": {"stride_on": "1x1"},
    "resnetv2_50x1_bit": {"standardize_weights": False},
    "resnetaa50d": {"antialias": "blur"},
    "resnetrs50": {"activation": "silu"},
    "seresnet33ts": {"activation": "relu"},
    "seresnext26ts": {"activation": "hardswish"},
    "senet154": _without("se.expand.bias"),
}


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in NARROW else pytest.mark.long) for n in DEFECTS])
def test_the_recorded_logits_catch(pool: EnginePool, name: str) -> None:
    misread = planted(referee(name), DEFECTS[name])
    assert measure(pool, misread, "numpy", "float64")["logits"] > 1e-4


def test_every_recorded_network_has_a_planted_defect() -> None:
    assert set(DEFECTS) == set(MODELS)
