"""Whole training runs are the same in every framework: losses, weights, statistics, optimizer slots."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
import pytest

import resnet_core as rn
from engine_pool import MAIN, EnginePool, problems
from resnet_core.numerics import structurally_zero as without_gradient
from resnet_core.spec_files import to_json
from resnet_core.tolerances import TOLERANCES
from resnet_core.training.contract import TrainingState
from resnet_core.training.recipe import Recipe
from resnet_core.training.recipe_files import RECIPES as NAMED
from resnet_core.training.recipe_files import recipe as named
from resnet_core.training.recipe_files import recipe_to_json
from resnet_core.workers.child import Arrays

#: Well conditioned: every norm sees at least 48 values, and no projection starts from noise.
SPEC = rn.spec("resnet20", channels=[4, 8, 16], depths=[1, 1, 1], shortcut="projection", classes=7)
#: The other kinds of layers: biases, max-pool, pre-activation, groups.
SPECS = {
    "resnet18_d2l": rn.spec("resnet18_d2l", channels=[4, 8], depths=[1, 1], in_channels=3),
    "resnet_v2_50": rn.spec("resnet_v2_50", channels=[4, 8], depths=[1, 2], classes=10),
    "resnext50_32x4d": rn.spec(
        "resnext50_32x4d", channels=[8, 16], depths=[1, 1], groups=4, width_per_group=32, classes=10
    ),
    "resnet20": rn.spec("resnet20", channels=[4, 8, 16], depths=[1, 1, 1]),
}
_SMALL: dict[str, Any] = {"channels": [8, 16], "depths": [1, 2], "classes": 7, "input_size": [32, 32]}
#: Between them, every layer that the first networks do not have. Where random factors make most of a batch zero, a slot
#: may be nothing but rounding: the rates are low.
LATER = {
    "deep, gated, random": rn.spec(
        "resnet50d", attention="se", activation="silu", drop_path=0.25, dropout=0.25, head_pool="both", **_SMALL
    ),
    "group norm, standardized": rn.spec(
        "resnetv2_50x1_bit",
        norm_group_channels=2,
        attention="eca",
        attention_place="inner",
        activation="gelu",
        **_SMALL,
    ),
    "layer norm, blurs": rn.spec(
        "resnetblur18", norm="layer", activation="hardswish", shortcut_pool="average", head_channels=12, **_SMALL
    ),
    "plain, frozen norms": rn.spec("plain20", norm="frozen", activation="leaky_relu", head_pool="max", **_SMALL),
}

COMMON: dict[str, Any] = {"batch_size": 6, "steps": 20, "weight_decay": 1e-3}
DROP: dict[str, Any] = {"schedule": "step", "milestones": [10]}
RECIPES = {
    "momentum": Recipe(learning_rate=0.05, momentum=0.9, **DROP, **COMMON),
    "nesterov": Recipe(learning_rate=0.05, momentum=0.9, nesterov=True, label_smoothing=0.1, **DROP, **COMMON),
    "plain": Recipe(learning_rate=0.05, schedule="cosine", warmup=3, decay_all=False, **COMMON),
    "clipped": Recipe(learning_rate=0.05, momentum=0.9, clip_norm=1.0, **DROP, **COMMON),
    "parts": Recipe(
        learning_rate=0.05,
        momentum=0.9,
        accumulate=2,
        drop_last=True,
        clip_norm=1.0,
        label_smoothing=0.1,
        **DROP,
        **COMMON,
    ),
    "groups": Recipe(learning_rate=0.05, momentum=0.9, statistics_batch=3, drop_last=True, **DROP, **COMMON),
    "frozen": Recipe(
        learning_rate=0.05,
        momentum=0.9,
        freeze=("stem", "stage1", "stage2.block1.norm2"),
        rates=(("stage3", 0.5), ("head", 4.0)),
        **DROP,
        **COMMON,
    ),
    "frozen adamw": Recipe(
        optimizer="adamw", learning_rate=0.003, freeze=("backbone",), rates=(("head.linear", 2.0),), **DROP, **COMMON
    ),
    "adam": Recipe(optimizer="adam", learning_rate=0.003, **DROP, **COMMON),
    "adamw": Recipe(optimizer="adamw", learning_rate=0.003, label_smoothing=0.1, **DROP, **COMMON),
}

LOSS, WEIGHTS, STEP = (TOLERANCES[quantity]["float64"] for quantity in ("loss", "weights", "step"))


def batches(spec: rn.ResNetSpec, steps: int) -> Arrays:
    """Random pictures that come back every fourth step."""
    rng = np.random.default_rng(9)
    size = (12, 11) if spec.stem_pool == "none" else (26, 21)
    images = rng.standard_normal((4, 6, *size, spec.in_channels)).astype(np.float32)
    labels = rng.integers(0, int(spec.classes or 1), (4, 6))
    order = np.arange(steps) % 4
    return {"images": images[order], "labels": labels[order]}


def run(pool: EnginePool, engine: str, spec: rn.ResNetSpec, recipe: Recipe, steps: int) -> Arrays:
    """The `loss` of so many steps from the probe weights, and the state then, flat; in float64."""
    arrays = {**TrainingState(rn.probe_weights(spec, 2, "float64")).to_arrays(), **batches(spec, steps)}
    text = recipe_to_json(recipe)
    return pool.engine(engine, "float64").call("train_steps", arrays, spec=to_json(spec), recipe=text, dtype="float64")[
        1
    ]


@cache
def truth(pool: EnginePool, spec: rn.ResNetSpec, recipe: Recipe, steps: int) -> Arrays:
    return run(pool, "numpy", spec, recipe, steps)


def structurally_zero(pool: EnginePool, spec: rn.ResNetSpec) -> set[str]:
    """Parameters with no gradient at all: biases that only a norm sees. What Adam makes of their noise is noise."""
    plain = Recipe(learning_rate=1.0, batch_size=6, steps=1)
    before = rn.probe_weights(spec, 2, "float64")
    after = TrainingState.from_arrays(truth(pool, spec, plain, 1)).weights
    return without_gradient({name: after[name] - before[name] for name in rn.parameters(spec)})


def wrong(
    pool: EnginePool, spec: rn.ResNetSpec, found: Arrays, true: Arrays, loss: float, weights: float
) -> dict[str, float]:
    """THE check: the loss of every step, and every weight, statistic and slot at the end."""
    zeros = structurally_zero(pool, spec)
    kept = [name for name in true if name.partition(".")[2] not in zeros and name.split(".", 2)[-1] not in zeros]
    tolerance = {name: loss if name == "loss" else weights for name in kept}
    return dict.fromkeys(found.keys() ^ true.keys(), np.inf) | {
        name: error
        for name in kept
        if name in found
        for error in problems({name: found[name]}, {name: true[name]}, tolerance[name]).values()
    }


def slow_but_for(kept: tuple[str, ...], every: Iterable[str]) -> list[Any]:
    """(name, engine): all in PyTorch; in Keras and Flax, whose graphs are slow to make, the others are long."""
    return [
        pytest.param(name, engine, marks=() if engine == "torch" or name in kept else pytest.mark.long)
        for name in every
        for engine in MAIN
    ]


#: Four steps of every optimizer, and one from a state with slots, are the conformance kit's, in every framework. Long
#: runs are one of each shape here: a buffer and parts of batches, parts frozen, moments.
@pytest.mark.parametrize(("recipe", "engine"), slow_but_for(("parts", "frozen", "adam"), RECIPES))
def test_twenty_steps_are_the_same_run(pool: EnginePool, recipe: str, engine: str) -> None:
    found = run(pool, engine, SPEC, RECIPES[recipe], 20)
    true = truth(pool, SPEC, RECIPES[recipe], 20)
    assert np.ptp(true["loss"]) > 0.1, "the network must learn"
    assert wrong(pool, SPEC, found, true, LOSS, WEIGHTS) == {}


@pytest.mark.long
@pytest.mark.parametrize("engine", MAIN)
@pytest.mark.parametrize("name", NAMED)
def test_two_steps_of_every_named_recipe(pool: EnginePool, name: str, engine: str) -> None:
    """On the numbers of one batch: what a recipe does to pictures is the pipeline's."""
    plan = named(name, steps=2, batch_size=6, statistics_batch=None)
    found, true = run(pool, engine, SPEC, plan, 2), truth(pool, SPEC, plan, 2)
    assert wrong(pool, SPEC, found, true, STEP, STEP) == {}


#: The gradients and the statistics of every kind of network are the conformance kit's, in every framework.
@pytest.mark.parametrize(("name", "engine"), slow_but_for(("resnet18_d2l",), SPECS))
def test_one_step_is_the_same_in_every_kind_of_network(pool: EnginePool, name: str, engine: str) -> None:
    found = run(pool, engine, SPECS[name], RECIPES["nesterov"], 1)
    true = truth(pool, SPECS[name], RECIPES["nesterov"], 1)
    assert wrong(pool, SPECS[name], found, true, STEP, STEP) == {}


@pytest.mark.parametrize(("name", "engine"), slow_but_for(("deep, gated, random",), LATER))
def test_twenty_steps_of_later_layers_are_the_same_run(pool: EnginePool, name: str, engine: str) -> None:
    """Random factors too: they are drawn from the seed, the step and the path."""
    found = run(pool, engine, LATER[name], RECIPES["momentum"], 20)
    true = truth(pool, LATER[name], RECIPES["momentum"], 20)
    assert np.ptp(true["loss"]) > 0.1, "the network must learn"
    assert wrong(pool, LATER[name], found, true, LOSS, WEIGHTS) == {}


@pytest.mark.parametrize("defect", ["factors of the next step", "nothing is dropped"])
def test_other_random_factors_are_caught(pool: EnginePool, defect: str) -> None:
    spec = LATER["deep, gated, random"]
    worker = pool.engine("torch", "float64")
    worker.call("training_tasks:plant", name=defect)
    try:
        found = run(pool, "torch", spec, RECIPES["momentum"], 20)
    finally:
        worker.call("training_tasks:plant", name=None)
    assert "loss" in wrong(pool, spec, found, truth(pool, spec, RECIPES["momentum"], 20), LOSS, WEIGHTS)


@pytest.mark.parametrize("recipe", ["nesterov", pytest.param("groups", marks=pytest.mark.long)])
@pytest.mark.parametrize("engine", ["keras_jax", "keras_torch"])
def test_keras_on_jax_and_pytorch_trains_the_same(pool: EnginePool, engine: str, recipe: str) -> None:
    found = run(pool, engine, SPEC, RECIPES[recipe], 3)
    assert wrong(pool, SPEC, found, truth(pool, SPEC, RECIPES[recipe], 3), LOSS, WEIGHTS) == {}


@pytest.mark.parametrize(
    ("defect", "engine", "recipe"),
    [
        ("decoupled decay", "torch", "momentum"),
        ("rate inside the buffer", "torch", "momentum"),
        ("Kingma's epsilon", "torch", "adam"),
        ("biased variance", "flax", "momentum"),
        ("Keras' biased variance", "keras", "momentum"),
        ("complement of the momentum", "torch", "momentum"),
        ("no Nesterov", "keras", "nesterov"),
        ("no label smoothing", "torch", "nesterov"),
        ("AdamW for Adam", "torch", "adam"),
        ("schedule off by one step", "torch", "momentum"),
        ("summed loss", "torch", "momentum"),
        ("nothing clipped", "torch", "clipped"),
        ("Keras' clipping", "keras", "clipped"),
        ("a batch in one piece", "flax", "parts"),
        ("summed parts", "torch", "parts"),
        ("a variance of all groups", "flax", "groups"),
        ("nothing frozen", "flax", "frozen"),
        ("frozen norms normalize by the batch", "torch", "frozen"),
        ("frozen norms learn", "torch", "frozen"),
        ("equal rates", "keras", "frozen"),
        ("a rate that spares the decay", "torch", "frozen adamw"),
    ],
)
def test_a_planted_defect_is_caught(pool: EnginePool, defect: str, engine: str, recipe: str) -> None:
    worker = pool.engine(engine, "float64")
    worker.call("training_tasks:plant", name=defect)
    try:
        found = run(pool, engine, SPEC, RECIPES[recipe], 20)
    finally:
        worker.call("training_tasks:plant", name=None)
    caught = wrong(pool, SPEC, found, truth(pool, SPEC, RECIPES[recipe], 20), LOSS, WEIGHTS)
    assert caught
    if "variance" in defect:
        assert all(name.endswith("running_var") for name in caught)
    else:
        assert "loss" in caught
