"""The table of learning rates: no framework's convention, and off by nothing."""

from __future__ import annotations

import math

import pytest

from resnet_core.training.recipe import Recipe
from resnet_core.training.schedule import learning_rate, step_numbers, steps_per_epoch, total_steps


def rates(count: int, per_epoch: int = 1, **fields: object) -> list[float]:
    recipe = Recipe(**{"learning_rate": 1.0, "batch_size": 1, "steps": count, **fields})  # type: ignore[arg-type]
    return [learning_rate(recipe, per_epoch, step) for step in range(count)]


def test_a_constant_rate() -> None:
    assert rates(3) == [1.0, 1.0, 1.0]


def test_a_milestone_acts_on_its_own_step() -> None:
    assert rates(6, schedule="step", milestones=[2, 4], factor=0.1) == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_milestones_of_a_run_in_epochs_are_epochs() -> None:
    found = rates(6, per_epoch=2, steps=None, epochs=3, schedule="step", milestones=[1.5], factor=0.5)
    assert found == [1, 1, 1, 0.5, 0.5, 0.5]


def test_the_warm_up_ends_at_the_full_rate() -> None:
    assert rates(5, warmup=4) == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_the_cosine_starts_at_the_warm_ups_end_and_would_be_zero_after_the_last_step() -> None:
    found = rates(6, warmup=2, schedule="cosine")
    assert found[:2] == [0.5, 1.0]
    assert found[2:] == pytest.approx([(1 + math.cos(math.pi * k / 4)) / 2 for k in range(4)])


def test_the_last_batch_of_an_epoch_counts_unless_it_is_dropped() -> None:
    recipe = Recipe(learning_rate=1.0, batch_size=4, epochs=3)
    assert (steps_per_epoch(recipe, 9), total_steps(recipe, 3)) == (3, 9)
    assert steps_per_epoch(Recipe(learning_rate=1.0, batch_size=4, epochs=3, drop_last=True), 9) == 2


def test_the_corrections_of_adam_are_those_of_the_steps_taken() -> None:
    recipe = Recipe(optimizer="adam", learning_rate=1.0, batch_size=1, steps=9)
    numbers = step_numbers(recipe, 1, 0)
    assert (numbers.correction1, numbers.correction2) == (1 - 0.9, math.sqrt(1 - 0.999))
    assert step_numbers(recipe, 1, 4).correction1 == 1 - 0.9**5
