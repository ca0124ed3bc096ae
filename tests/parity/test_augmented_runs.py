"""Runs on pictures that are cropped, recolored, blanked and mixed are the same in every framework."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import resnet_core as rn
from augmentation_tasks import DEFECTS
from engine_pool import MAIN, EnginePool
from resnet_core.spec_files import to_json
from resnet_core.training.contract import TrainingState
from resnet_core.training.recipe import Recipe
from resnet_core.training.recipe_files import recipe_to_json
from resnet_core.workers.child import Arrays
from test_training_runs import LOSS, SPEC, WEIGHTS, wrong

COMMON: dict[str, Any] = {
    "learning_rate": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-3, "label_smoothing": 0.1,
    "steps": 20, "batch_size": 6, "drop_last": True, "resize": [12, 11], "pad_crop": 1, "flip": True,
    "crop_area": [0.08, 1], "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1, "cutout": 4,
    "mean": [0.5, 0.4, 0.5], "deviation": [0.2, 0.25, 0.2],
}  # fmt: skip
RECIPES = {"mixup": Recipe(mixup=0.4, **COMMON), "cutmix": Recipe(cutmix=1.0, **COMMON)}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of 7 classes, each with a color of its own, wide enough that some crops do not fit."""
    rng = np.random.default_rng(11)
    labels = np.arange(28) % 7
    colors = rng.integers(30, 226, (7, 1, 1, 3))[labels]
    pictures = np.clip(colors + rng.normal(0, 40, (28, 17, 29, 3)), 0, 255).astype(np.uint8)
    path = tmp_path_factory.mktemp("data") / "pictures.npz"
    np.savez(path, x_train=pictures[:21], y_train=labels[:21], x_test=pictures[21:], y_test=labels[21:])
    return path


def run(pool: EnginePool, engine: str, data: Path, kind: str, defect: str | None = None) -> Arrays:
    """The loss of 20 steps from the probe weights, and the state then, in float64."""
    start = TrainingState(rn.probe_weights(SPEC, 2, "float64")).to_arrays()
    asked = {"data": str(data), "spec": to_json(SPEC), "recipe": recipe_to_json(RECIPES[kind]), "defect": defect}
    return pool.engine(engine, "float64").call("augmentation_tasks:augmented_run", start, **asked)[1]


@cache
def truth(pool: EnginePool, data: Path, kind: str) -> Arrays:
    return run(pool, "numpy", data, kind)


# What a framework has of an augmentation are images and mixed targets, and both kinds mix both.
@pytest.mark.parametrize(
    ("kind", "engine"),
    [
        pytest.param(kind, engine, marks=() if kind == "mixup" or engine == "torch" else pytest.mark.long)
        for kind in RECIPES
        for engine in MAIN
    ],
)
def test_twenty_augmented_steps_are_the_same_run(pool: EnginePool, data: Path, kind: str, engine: str) -> None:
    true = truth(pool, data, kind)
    assert np.ptp(true["loss"]) > 0.1, "the network must learn"
    assert wrong(pool, SPEC, run(pool, engine, data, kind), true, LOSS, WEIGHTS) == {}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_planted_defect_of_the_augmentation_is_caught(pool: EnginePool, data: Path, defect: str) -> None:
    found = run(pool, "torch", data, "mixup", defect)
    assert "loss" in wrong(pool, SPEC, found, truth(pool, data, "mixup"), LOSS, WEIGHTS)
