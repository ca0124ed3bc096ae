"""Recipes: validated like specs, by name, from files, with overrides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import resnet_core as rn
from resnet_core.analysis import Network
from resnet_core.errors import InputError, RecipeError
from resnet_core.training.parameters import frozen_layers, treatments
from resnet_core.training.recipe import Recipe, check_trainable
from resnet_core.training.recipe_files import (
    RECIPES,
    recipe,
    recipe_from_json,
    recipe_overrides,
    recipe_to_json,
    save_recipe,
    title,
)
from resnet_core.tree import Chain, Conv, Leaf, Tensor

SMALL: dict[str, Any] = {"learning_rate": 0.1, "epochs": 1, "batch_size": 8}


def test_the_named_recipes_are_the_seeds() -> None:
    d2l = recipe("d2l")
    assert (d2l.optimizer, d2l.learning_rate, d2l.momentum, d2l.epochs, d2l.batch_size) == ("sgd", 0.05, 0.0, 10, 256)
    assert d2l.resize == (96, 96)
    adam = recipe("fashion-adam")
    assert (adam.optimizer, adam.learning_rate, adam.epochs, adam.batch_size) == ("adam", 0.001, 2, 256)
    assert (adam.betas, adam.epsilon, adam.resize) == ((0.9, 0.999), 1e-8, None)
    cifar = recipe("cifar-2015")
    assert (cifar.learning_rate, cifar.momentum, cifar.weight_decay, cifar.steps) == (0.1, 0.9, 1e-4, 64_000)
    assert (cifar.milestones, cifar.factor, cifar.pad_crop, cifar.flip) == ((32_000, 48_000), 0.1, 4, True)


def test_the_recipes_of_imagenet_are_the_papers() -> None:
    """He et al. 2015, section 3.4; Goyal et al. 2017, sections 2.1, 2.2, 2.3 and 5.1."""
    he = recipe("imagenet-2015")
    assert (he.optimizer, he.rate, he.momentum, he.nesterov, he.weight_decay) == ("sgd", 0.1, 0.9, False, 1e-4)
    assert (he.batch_size, he.steps, he.factor, he.warmup, he.statistics_batch) == (256, 600_000, 0.1, 0.0, None)
    assert (he.crop_side, he.crop_area, he.flip, he.lighting, he.label_smoothing) == ((256, 480), None, True, 0.1, 0.0)
    goyal = recipe("imagenet-goyal")
    assert (goyal.batch_size, goyal.epochs, goyal.milestones, goyal.factor) == (8192, 90, (30, 60, 80), 0.1)
    assert (goyal.optimizer, goyal.momentum, goyal.nesterov, goyal.weight_decay) == ("sgd", 0.9, True, 1e-4)
    assert (goyal.rate, goyal.warmup, goyal.warmup_from, goyal.statistics_batch) == (3.2, 5, 0.1, 32)
    assert (goyal.crop_area, goyal.crop_ratio, goyal.flip, goyal.decay_all) == ((0.08, 1), (3 / 4, 4 / 3), True, False)
    for size, rate in ((256, 0.1), (512, 0.2), (1024, 0.4)):  # the paper's table of batches
        assert recipe(goyal, batch_size=size).rate == pytest.approx(rate, rel=1e-15)


def test_a_title_says_what_was_changed() -> None:
    assert title(recipe("fashion-adam")) == "fashion-adam"
    assert title(recipe("fashion-adam", batch_size=64)) == "fashion-adam with batch_size = 64"
    assert title(recipe("fashion-adam", epochs=2, seed=0)) == "fashion-adam"
    changed = recipe("d2l", schedule="cosine", resize=None, steps=10, rates={"head": 2})
    assert title(changed) == ('d2l with rates = {"head": 2.0}, schedule = "cosine", steps = 10 and resize = none')
    many = recipe(
        "d2l", **{"flip": True, "hue": 0.1, "brightness": 1, "contrast": 1, "cutout": 1, "mixup": 1, "seed": 1}
    )
    assert title(many) == (
        "d2l with flip = true, brightness = 1.0, contrast = 1.0, hue = 0.1, cutout = 1 and 2 other fields changed"
    )
    assert title(Recipe(name="mine", **SMALL)) == "mine"
    assert title(Recipe(**SMALL)) == "without a name"


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_goes_through_toml_and_json_unchanged(name: str, tmp_path: Path) -> None:
    own = recipe(name)
    save_recipe(tmp_path / "r.toml", own)
    assert recipe(tmp_path / "r.toml") == own
    assert recipe_from_json(recipe_to_json(own)) == own


def test_parts_and_their_rates_go_through_files_too(tmp_path: Path) -> None:
    own = recipe("d2l", **recipe_overrides(['freeze=["stem", "stage1"]', "rates={head = 10}", "clip_norm=2"]))
    assert (own.freeze, own.rates, own.clip_norm) == (("stem", "stage1"), (("head", 10.0),), 2.0)
    save_recipe(tmp_path / "r.toml", own)
    assert recipe(tmp_path / "r.toml") == recipe_from_json(recipe_to_json(own)) == recipe(own) == own


def test_overrides_replace_fields_and_the_length_is_said_once() -> None:
    changed = recipe("cifar-2015", **recipe_overrides(["epochs=3", "milestones=[1, 2]", "mean=none", "resize=40"]))
    cropped = recipe("fashion-adam", **recipe_overrides(["crop_area=[0.08, 1]", "mixup=0.2"]))
    assert (cropped.crop_area, cropped.mixup) == ((0.08, 1.0), 0.2)
    assert recipe(cropped, **recipe_overrides(["crop_area=none"])).crop_area is None
    assert (changed.epochs, changed.steps, changed.mean, changed.resize) == (3, None, None, (40, 40))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"optimizer": "lion"}, 'optimizer: received \'lion\'; allowed is "sgd", "adam" or "adamw"'),
        ({"learning_rate": 0}, "learning_rate: received 0; allowed is a number above 0"),
        ({"learning_rate": "fast"}, "learning_rate: received 'fast'"),
        ({"momentum": 1.0}, "momentum: received 1.0"),
        ({"rates": {"head": 0}}, "rates.head: received 0; allowed is a number above 0"),
        ({"rates": 3}, "rates: received 3; allowed is a table of numbers above 0 by part"),
        ({"freeze": "stem"}, "freeze: received 'stem'; allowed is a list of parts"),
        ({"accumulate": 3}, "accumulate: received 3; allowed is a divisor of batch_size = 8"),
        ({"accumulate": 2}, "with drop_last = true"),
        (
            {"statistics_batch": 3},
            "received 3; allowed is a divisor of 8 (batch_size = 8), with drop_last",
        ),
        ({"statistics_batch": 4}, "with drop_last = true: all groups are equal"),
        (
            {"statistics_batch": 8, "accumulate": 2, "drop_last": True},
            "received 8; allowed is a divisor of 4 (batch_size = 8 in 2 parts)",
        ),
        ({"statistics_batch": 0}, "statistics_batch: received 0; allowed is an integer from 1 that divides a batch"),
        (
            {"rate_batch": 0},
            "rate_batch: received 0; allowed is an integer from 1, the batch_size that",
        ),
        ({"warmup_from": 0.1}, "warmup_from: received 0.1; allowed is a rate only with a warmup, such as warmup = 5"),
        ({"crop_side": [480, 256]}, "crop_side: received [480, 256]; allowed is two rising integers from 1"),
        ({"crop_side": [8, 9], "crop_area": [0.1, 1]}, "crop_side: received [8, 9]; allowed is none with crop_area"),
        (
            {"crop_side": [8, 9], "mean": "pixel"},
            "mean: received 'pixel'; allowed is a list of numbers or none with",
        ),
        ({"lighting": -1}, "lighting: received -1; allowed is a number from 0"),
        ({"clip_norm": 0}, "clip_norm: received 0; allowed is a number above 0"),
        ({"average_every": 2}, "average_every: received 2; allowed is one only with an average"),
        ({"nesterov": True}, "nesterov: received True; allowed is true only with a momentum"),
        ({"optimizer": "adam", "momentum": 0.9}, "momentum: received 0.9; allowed is a momentum only with"),
        ({"betas": [0.9, 1.5]}, "betas[1]: received 1.5"),
        ({"steps": 10}, "epochs: received 'both'; allowed is exactly one of epochs and steps"),
        ({"epochs": None}, "epochs: received 'neither'"),
        ({"batch_size": 0}, "batch_size: received 0"),
        ({"schedule": "step"}, "milestones: received []; allowed is some"),
        ({"milestones": [1]}, "milestones: received [1.0]; allowed is some with schedule"),
        ({"schedule": "step", "milestones": [3, 2]}, "milestones: received [3.0, 2.0]; allowed is rising"),
        ({"mean": "picture"}, "mean: received 'picture'; allowed is a list of numbers, one per channel, \"pixel\" for"),
        ({"deviation": [0.0]}, "deviation[0]: received 0.0"),
        ({"label_smoothing": 1.0}, "label_smoothing: received 1.0"),
        ({"crop_area": [0, 1]}, "crop_area[0]: received 0; allowed is two numbers above 0 and at most 1"),
        ({"crop_area": 0.5}, "crop_area: received 0.5; allowed is two numbers above 0"),
        ({"crop_area": [1, 0.1]}, "crop_area: received [1.0, 0.1]; allowed is two numbers above 0 and at most 1"),
        ({"crop_ratio": [2, 1]}, "crop_ratio: received [2.0, 1.0]; allowed is two numbers above 0, between which"),
        ({"crop_area": [0.1, 1], "mean": "pixel"}, "mean: received 'pixel'; allowed is a list of numbers or none with"),
        ({"brightness": -0.1}, "brightness: received -0.1; allowed is a number from 0"),
        ({"contrast": "much"}, "contrast: received 'much'; allowed is a number from 0"),
        ({"saturation": [0.5]}, "saturation: received [0.5]; allowed is a number from 0"),
        ({"hue": 0.6}, "hue: received 0.6; allowed is a number from 0 to 0.5"),
        ({"cutout": 1.5}, "cutout: received 1.5; allowed is an integer from 0, the side of the square"),
        ({"mixup": -1}, "mixup: received -1; allowed is a number from 0, alpha"),
        ({"cutmix": "on"}, "cutmix: received 'on'; allowed is a number from 0, alpha"),
        ({"mixup": 0.2, "cutmix": 1}, "cutmix: received 1.0; allowed is 0 with mixup"),
        ({"seed": -1}, "seed: received -1"),
        ({"learning_rat": 1}, "learning_rat: unknown field; did you mean learning_rate?"),
    ],
)
def test_a_bad_recipe_is_one_clear_line(fields: dict[str, Any], words: str, tmp_path: Path) -> None:
    import json

    path = tmp_path / "r.json"
    path.write_text(json.dumps({**SMALL, **fields}))
    with pytest.raises(RecipeError) as error:
        recipe(path)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(RecipeError, match=r"received 'lars'; expected a \.toml or \.json file, or one of d2l"):
        recipe("lars")
    with pytest.raises(RecipeError, match="learning_rate: missing"):
        recipe_from_json('{"batch_size": 3}')


def decayed_parameters(network: Network, plan: Recipe) -> set[str]:
    return {name for name, treatment in treatments(network, plan).items() if treatment.decay}


def test_weight_decay_spares_norms_and_biases_if_asked() -> None:
    spec = rn.spec("resnet18_d2l")
    everything = decayed_parameters(spec, recipe("d2l", weight_decay=0.1))
    assert everything == set(rn.parameters(spec))
    some = decayed_parameters(spec, recipe("d2l", weight_decay=0.1, decay_all=False))
    assert {"stem.conv.weight", "head.linear.weight"} <= some
    assert not any(name.endswith(".bias") or ".norm" in name for name in some)
    assert decayed_parameters(spec, recipe("d2l")) == set()


@dataclass(frozen=True, slots=True)
class GroupNorm(Leaf):
    """A norm without running statistics."""

    channels: int

    def tensors(self) -> dict[str, Tensor]:
        return {"weight": Tensor((self.channels,), "scale"), "bias": Tensor((self.channels,), "shift")}


def test_weight_decay_spares_a_norm_that_has_no_statistics() -> None:
    tree = Chain((("conv", Conv(3, 4, (1, 1), bias=True)), ("norm", GroupNorm(4))))
    assert decayed_parameters(tree, recipe("d2l", weight_decay=0.1, decay_all=False)) == {"conv.weight"}
    everything = {"conv.weight", "conv.bias", "norm.weight", "norm.bias"}
    assert decayed_parameters(tree, recipe("d2l", weight_decay=0.1)) == everything


def test_a_frozen_part_is_not_trained_and_the_innermost_rate_decides() -> None:
    spec = rn.spec("resnet18_d2l")
    plan = recipe("d2l", freeze=["stem", "stage1.block2"], rates={"backbone": 0.1, "stage4": 0.5, "stage4.block1": 2})
    found, frozen = treatments(spec, plan), frozen_layers(spec, plan)
    assert {"stem.conv", "stem.norm", "stage1.block2.conv1", "stage1.block2.norm2"} <= frozen
    assert not any(layer.startswith(("stage1.block1", "stage2", "head")) for layer in frozen)
    trained = {name for name in rn.parameters(spec) if name.rpartition(".")[0] not in frozen}
    assert set(found) == trained
    rates = {name.rpartition(".")[0]: treatment.rate for name, treatment in found.items()}
    assert rates["stage1.block1.conv1"] == rates["stage3.block1.norm1"] == 0.1
    assert (rates["stage4.block1.conv1"], rates["stage4.block2.conv1"], rates["head.linear"]) == (2.0, 0.5, 1.0)


def test_the_backbone_is_all_but_the_head() -> None:
    spec = rn.spec("resnet_v2_50")
    assert {name.partition(".")[0] for name in treatments(spec, recipe("d2l", freeze=["backbone"]))} == {"head"}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"freeze": ["stage9"]}, "freeze: received 'stage9'; allowed is backbone (all but the head), stem, stage1"),
        ({"freeze": ["stage"]}, "freeze: received 'stage'"),
        ({"rates": {"body": 2.0}}, "rates: received 'body'"),
        ({"freeze": ["backbone", "head"]}, "freeze: received ['backbone', 'head']; allowed is a list of parts"),
    ],
)
def test_a_part_that_the_network_has_not_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError) as error:
        treatments(rn.spec("resnet18"), recipe("d2l", **fields))
    assert words in str(error.value)


def test_a_network_without_one_answer_per_picture_is_refused() -> None:
    with pytest.raises(InputError, match="training needs one prediction per picture"):
        check_trainable(rn.spec("resnet_v2_50", global_pool=False))
