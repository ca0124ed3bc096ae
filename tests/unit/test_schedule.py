"""The table of learning rates: no framework's convention, and off by nothing."""

from __future__ import annotations

import itertools
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


def test_a_warm_up_may_start_above_zero_and_never_falls() -> None:
    assert rates(5, warmup=4, warmup_from=0.2) == pytest.approx([0.4, 0.6, 0.8, 1.0, 1.0], rel=1e-15)
    assert rates(3, warmup=2, warmup_from=5.0) == [1.0, 1.0, 1.0]
    falling = rates(4, warmup=2, warmup_from=0.5, schedule="step", milestones=[1], factor=0.8)
    assert falling == pytest.approx([0.75, 0.8, 0.8, 0.8], rel=1e-15)


def test_a_rate_is_scaled_with_the_batch() -> None:
    goyal = Recipe(
        learning_rate=0.1, rate_batch=256, batch_size=8192, epochs=90, warmup=5, warmup_from=0.1,
        schedule="step", milestones=[30, 60, 80], drop_last=True,
    )  # fmt: skip
    per_epoch = steps_per_epoch(goyal, 1_281_167)
    assert per_epoch == 156
    found = [learning_rate(goyal, per_epoch, step) for step in range(total_steps(goyal, per_epoch))]
    assert found[0] == pytest.approx(0.1 + 3.1 / 780)
    assert found[779:4680] == [3.2] * 3901
    assert [found[epoch * 156] for epoch in (30, 60, 80, 89)] == pytest.approx([0.32, 0.032, 0.0032, 0.0032])
    assert max(abs(b - a - 3.1 / 780) for a, b in itertools.pairwise(found[:780])) < 1e-14


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
