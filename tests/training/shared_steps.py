"""Steps that several processes share, and the check that they are those of one process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import resnet_core as rn
from resnet_core.numerics import relative_error, structurally_zero
from resnet_core.training.contract import StepInputs, Trainer, TrainingState
from resnet_core.training.parallel.threads import ThreadGroup
from resnet_core.training.random_factors import step_inputs
from resnet_core.training.recipe import Recipe
from resnet_core.training.schedule import step_numbers
from resnet_core.training.targets import target_distribution

CLASSES = 5
SMALL: dict[str, Any] = {"channels": [4, 8], "depths": [1, 1], "classes": CLASSES}
#: Random layers too: their factors belong to rows.
SPECS = {
    "batch norm": rn.spec("resnet20", channels=[4, 8, 16], depths=[1, 1, 1], shortcut="projection", classes=CLASSES),
    "random": rn.spec("resnet50d", attention="se", drop_path=0.25, dropout=0.25, input_size=[16, 16], **SMALL),
    "group norm": rn.spec("resnet20", norm="group", norm_group_channels=2, **SMALL),
    "layer norm": rn.spec("resnet20", norm="layer", **SMALL),
    "frozen norm": rn.spec("resnet20", norm="frozen", **SMALL),
    "equal blocks": rn.spec("resnet20", channels=[4], depths=[4], classes=CLASSES),
}
COMMON: dict[str, Any] = {"batch_size": 6, "steps": 20, "weight_decay": 1e-3}
RECIPES = {
    "momentum": Recipe(learning_rate=0.05, momentum=0.9, label_smoothing=0.1, clip_norm=1.0, **COMMON),
    "adamw": Recipe(optimizer="adamw", learning_rate=0.003, **COMMON),
    "parts": Recipe(learning_rate=0.05, momentum=0.9, accumulate=2, drop_last=True, freeze=("stem",), **COMMON),
}
#: Norms take groups, two in each part of a batch.
TWO_GROUPS: dict[str, Any] = {**COMMON, "batch_size": 12, "accumulate": 2, "statistics_batch": 3, "drop_last": True}
GROUPED = {"groups": Recipe(learning_rate=0.05, momentum=0.9, **TWO_GROUPS)}
#: Images of a step: 2, 3 and 4 processes do not divide them all, and are more than the last.
SIZES = (6, 5, 7, 2)

Found = dict[str, np.ndarray]


def steps(spec: rn.ResNetSpec, recipe: Recipe, count: int) -> Iterator[StepInputs]:
    """The whole batches of a run, of different sizes; of one, where they are divided into equal parts or groups."""
    for step in range(count):
        rng = np.random.default_rng([3, step % len(SIZES)])
        size = recipe.batch_size if recipe.drop_last else SIZES[step % len(SIZES)]
        images = rng.standard_normal((size, 16, 13, spec.in_channels)).astype(np.float32)
        targets = target_distribution(rng.integers(0, CLASSES, size), CLASSES, recipe.label_smoothing)
        yield step_inputs(spec, recipe.seed, step, images, targets, step_numbers(recipe, 1, step))


def exchanges(patch: pytest.MonkeyPatch) -> list[int]:
    """The rank of each that asks the others, from now on, in threads."""
    asked: list[int] = []
    right = ThreadGroup.gather

    def counted(self: ThreadGroup, array: np.ndarray) -> list[np.ndarray]:
        asked.append(self.rank)
        return right(self, array)

    patch.setattr(ThreadGroup, "gather", counted)
    return asked


def start(spec: rn.ResNetSpec, dtype: str = "float64") -> TrainingState:
    """Weights that show every mistake."""
    return TrainingState(rn.probe_weights(spec, 2, dtype))


def taken(trainer: Trainer, spec: rn.ResNetSpec, recipe: Recipe, count: int) -> Found:
    """Losses, numbers of correct images, and the state after so many steps, flat."""
    results = [trainer.step(inputs) for inputs in steps(spec, recipe, count)]
    return {
        "loss": np.array([result.loss for result in results]),
        "correct": np.array([result.correct for result in results]),
        **trainer.state().to_arrays(),
    }


def one_process(
    trainer: Callable[..., Trainer], spec: rn.ResNetSpec, recipe: Recipe, count: int, dtype: str = "float64"
) -> Found:
    """The truth: what one process computes in this framework."""
    return taken(trainer(spec, recipe, start(spec, dtype), dtype=dtype), spec, recipe, count)


def without_gradient(trainer: Callable[..., Trainer], spec: rn.ResNetSpec) -> set[str]:
    """Parameters whose gradients are nothing but rounding, of which Adam would make steps."""
    plain = Recipe(learning_rate=1.0, batch_size=6, steps=1)
    before, after = start(spec).weights, one_process(trainer, spec, plain, 1)
    return structurally_zero({name: after[f"weight.{name}"] - before[name] for name in rn.parameters(spec)})


def differences(found: Found, true: Found, tolerance: float, zeros: set[str] = frozenset()) -> dict[str, float]:  # type: ignore[assignment]
    """THE check: {what differs: by how much}, of losses, counts, weights, statistics and slots."""
    errors = {name: relative_error(found.get(name, np.zeros(0)), value) for name, value in true.items()}
    errors |= dict.fromkeys(found.keys() - true.keys(), np.inf)
    ends = tuple(f".{name}" for name in zeros)
    return {name: error for name, error in errors.items() if error > tolerance and not (ends and name.endswith(ends))}
