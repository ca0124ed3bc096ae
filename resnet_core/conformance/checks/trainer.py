"""The Trainer: steps of every optimizer, what they leave, and going on from a state."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from resnet_core.conformance.check import Context, check, expect, expect_close, expect_names, expect_same, untouched
from resnet_core.conformance.networks import DROPPING, TRAINED
from resnet_core.conformance.subjects import aligned, predicted, reference
from resnet_core.training.contract import StepInputs, StepNumbers, StepResult, TrainingState
from resnet_core.training.random_factors import random_factors
from resnet_core.training.recipe import Recipe
from resnet_core.training.schedule import step_numbers
from resnet_core.training.targets import target_distribution
from resnet_core.weights import Weights, cast

GROUP = "trainer"
ROWS, CLASSES, STEPS = 6, 5, 4

_COMMON: dict[str, Any] = {"batch_size": ROWS, "steps": 2 * STEPS, "weight_decay": 1e-2}
_DROP: dict[str, Any] = {"schedule": "step", "milestones": (2.0,)}
#: The large epsilon is there to be seen: the usual one changes no digit of a step in float32.
_ADAM: dict[str, Any] = {"learning_rate": 0.01, "epsilon": 1e-2, **_DROP, **_COMMON}
RECIPES = {
    "momentum": Recipe(learning_rate=0.05, momentum=0.9, **_DROP, **_COMMON),
    "nesterov": Recipe(learning_rate=0.05, momentum=0.9, nesterov=True, label_smoothing=0.1, **_DROP, **_COMMON),
    "plain": Recipe(learning_rate=0.05, schedule="cosine", warmup=3.0, decay_all=False, **_COMMON),
    "parts": Recipe(
        learning_rate=0.05,
        momentum=0.9,
        freeze=("stem", "stage1.block1.norm1"),
        rates=(("head", 4.0),),
        clip_norm=0.3,  # below the norm of the gradients, at this start
        accumulate=2,
        drop_last=True,
        **_DROP,
        **_COMMON,
    ),
    "groups": Recipe(learning_rate=0.05, momentum=0.9, statistics_batch=3, drop_last=True, **_DROP, **_COMMON),
    "adam": Recipe(optimizer="adam", **_ADAM),
    "adamw": Recipe(optimizer="adamw", label_smoothing=0.1, **_ADAM),
}


def take_step(
    trainer: Any,
    images: np.ndarray,
    labels: np.ndarray,
    numbers: StepNumbers,
    recipe: Recipe,
    factors: Weights | None = None,
) -> StepResult:
    """One step on images and their classes: the only place of the kit that knows how a step is asked for."""
    arrays = {"images": images, "targets": target_distribution(labels, CLASSES, recipe.label_smoothing)}
    random = factors or {}
    given = {name: array.copy() for name, array in {**arrays, **random}.items()}
    result = trainer.step(StepInputs(images, arrays["targets"], numbers, random))
    expect_same("what a step was given", {**arrays, **random}, given)
    return result


def batch(step: int) -> tuple[np.ndarray, np.ndarray]:
    """Random images and classes of one step."""
    rng = np.random.default_rng(100 + step)
    images = rng.standard_normal((ROWS, *TRAINED.sizes[0], TRAINED.channels)).astype(np.float32)
    return images, rng.integers(0, CLASSES, ROWS)


def dropped(backend: Any, case: str, dtype: str) -> tuple[StepResult, TrainingState]:
    """One step of the network with random layers, from its probe weights."""
    recipe, images = RECIPES[case], batch(0)
    factors = random_factors(DROPPING.tree, recipe.seed, 0, images[0].shape)
    weights = cast(DROPPING.weights("float32"), dtype)  # in values that both dtypes have
    trainer = backend.Trainer(DROPPING.spec, recipe, TrainingState(weights), dtype=dtype)
    return take_step(trainer, *images, step_numbers(recipe, 1, 0), recipe, factors), trainer.state()


def train(backend: Any, recipe: Recipe, state: TrainingState, dtype: str, steps: int) -> tuple[Any, list[StepResult]]:
    """The trainer after so many steps from the state, and what each of them said."""
    trainer = backend.Trainer(TRAINED.spec, recipe, state, dtype=dtype)
    results = []
    for step in range(state.step, state.step + steps):
        results.append(take_step(trainer, *batch(step), step_numbers(recipe, 1, step), recipe))
    return trainer, results


@lru_cache(maxsize=64)
def _truth(name: str, start: int, steps: int) -> tuple[list[StepResult], TrainingState]:
    """What the reference says and leaves after `steps` from its own state after `start`, rounded to float32."""
    trainer, results = train(reference(), RECIPES[name], starting(name, start, "float64"), "float64", steps)
    return results, trainer.state()


@lru_cache(maxsize=64)
def _warm(name: str, steps: int) -> TrainingState:
    start = TrainingState(TRAINED.weights("float64"))
    return train(reference(), RECIPES[name], start, "float64", steps)[0].state() if steps else start


def starting(name: str, steps: int, dtype: str) -> TrainingState:
    """The reference's state after some steps, in values that both dtypes have."""

    def rounded(weights: Any) -> Any:
        return cast(cast(weights, "float32"), dtype)

    warm = _warm(name, steps)
    return TrainingState(rounded(warm.weights), {slot: rounded(kept) for slot, kept in warm.slots.items()}, warm.step)


def expect_state(what: str, found: TrainingState, truth: TrainingState, tolerance: float) -> None:
    """Weights, statistics, slots and step are those of the reference."""
    expect(found.step == truth.step, f"{what}: received step {found.step}; expected {truth.step}")
    expect_names(f"{what}: weights", dict(sorted(found.weights.items())), sorted(truth.weights))
    expect(
        set(found.slots) == set(truth.slots), f"{what}: received slots {set(found.slots)}; expected {set(truth.slots)}"
    )
    for slot, arrays in truth.slots.items():
        expect_names(f"{what}: slot {slot}", dict(sorted(found.slots[slot].items())), sorted(arrays))
        for name, value in arrays.items():
            expect_close(f"{what}: {slot} of {name}", found.slots[slot][name], value, tolerance)
    for name, value in truth.weights.items():
        expect_close(f"{what}: {name}", found.weights[name], value, tolerance)


@check(GROUP, cases=RECIPES, needs="Trainer")
def a_step_from_a_shared_state_equals_the_reference(context: Context, case: str) -> None:
    """Loss, `correct`, weights, statistics and slots, after one step from the reference's state."""
    start = starting(case, STEPS, context.dtype)
    (true,), state = _truth(case, STEPS, 1)
    trainer, (found,) = train(context.backend, RECIPES[case], start, context.dtype, 1)
    expect(isinstance(found, StepResult), f"step: received {type(found).__name__}; expected StepResult")
    expect_close("loss", np.array(found.loss), np.array(true.loss), context.tolerance("step"))
    expect(found.correct == true.correct, f"correct: received {found.correct}; expected {true.correct} of {ROWS}")
    expect_state("after the step", trainer.state(), state, context.tolerance("step"))


@check(GROUP, cases=("momentum", "parts"), needs="Trainer factors")
def a_step_multiplies_by_the_factors_of_random_layers(context: Context, case: str) -> None:
    """A drop path by one for each image, a dropout by one for each value; and each part of a batch by its own."""
    true, truth = dropped(reference(), case, "float64")
    found, state = dropped(context.backend, case, context.dtype)
    expect_close("loss", np.array(found.loss), np.array(true.loss), context.tolerance("step"))
    expect_state("after the step", state, truth, context.tolerance("step"))


@check(GROUP, cases=RECIPES, dtypes=("float64",), needs="Trainer")
def steps_from_the_start_equal_the_reference(context: Context, case: str) -> None:
    """The loss of each and what they leave, from weights without any slots."""
    true, state = _truth(case, 0, STEPS)
    trainer, found = train(context.backend, RECIPES[case], starting(case, 0, "float64"), "float64", STEPS)
    for step, (own, other) in enumerate(zip(found, true, strict=True)):
        expect_close(f"loss of step {step}", np.array(own.loss), np.array(other.loss), context.tolerance("loss"))
        expect(
            own.correct == other.correct, f"correct of step {step}: received {own.correct}; expected {other.correct}"
        )
    expect_state("after the steps", trainer.state(), state, context.tolerance("weights"))


@check(GROUP, cases=("momentum", "adam"), needs="Trainer")
def a_run_that_is_resumed_is_the_same_run(context: Context, case: str) -> None:
    """A Trainer that starts from `state()` after two steps goes on as the one that was not interrupted."""
    recipe, start = RECIPES[case], starting(case, 0, context.dtype)
    whole, _ = train(context.backend, recipe, start, context.dtype, 2)
    rest, resumed = train(context.backend, recipe, whole.state(), context.dtype, STEPS - 2)
    losses = [take_step(whole, *batch(step), step_numbers(recipe, 1, step), recipe) for step in range(2, STEPS)]
    tolerance = context.tolerance("step")
    for own, other in zip(resumed, losses, strict=True):
        expect_close("loss after resumption", np.array(own.loss), np.array(other.loss), tolerance)
    expect_state("after resumption", rest.state(), whole.state(), tolerance)


@check(GROUP, needs="Trainer")
def a_trainer_predicts_with_its_weights_in_evaluation_mode(context: Context) -> None:
    """`predict` is that of a model with the weights of `state()`; it changes nothing."""
    start = starting("momentum", 0, context.dtype)
    trainer, _ = train(context.backend, RECIPES["momentum"], start, context.dtype, 1)
    weights, images = trainer.state().weights, TRAINED.images()
    model = TRAINED.build(reference(), "float64", cast(weights, "float64"))
    expect_close("predict", trainer.predict(images), reference().predict(model, images), context.tolerance("output"))
    expect_same("the weights after predict", trainer.state().weights, weights)
    untrained = context.backend.Trainer(TRAINED.spec, RECIPES["momentum"], start, dtype=context.dtype)
    truth = predicted(TRAINED, TRAINED.sizes[0])
    expect_close("predict before the first step", untrained.predict(images), truth, context.tolerance("output"))


@check(GROUP, needs="Trainer")
def a_state_is_a_copy(context: Context) -> None:
    """A Trainer neither changes nor keeps the arrays that it starts from, and no step changes a state that it gave."""
    recipe, truth = RECIPES["momentum"], starting("momentum", STEPS, context.dtype)
    start = TrainingState(aligned(truth.weights), {"momentum": aligned(truth.slots["momentum"])}, truth.step)
    trainer = context.backend.Trainer(TRAINED.spec, recipe, start, dtype=context.dtype)
    for array in (*start.weights.values(), *start.slots["momentum"].values()):
        array[...] = 0
    given = trainer.state()
    _expect_same_state("after writing into the state it started from", given, truth)
    take_step(trainer, *batch(STEPS), step_numbers(recipe, 1, STEPS), recipe)
    trainer.state()
    _expect_same_state("a state after a later step", given, truth)
    untouched_start = starting("momentum", STEPS, context.dtype)
    train(context.backend, recipe, untouched_start, context.dtype, 1)
    _expect_same_state("the state it started from", untouched_start, truth)


def _expect_same_state(what: str, found: TrainingState, truth: TrainingState) -> None:
    for part, own, other in (
        ("weights", found.weights, truth.weights),
        ("slots", found.slots.get("momentum", {}), truth.slots["momentum"]),
    ):
        expect_same(f"{what}: {part}", dict(sorted(own.items())), dict(sorted(other.items())))


@check(GROUP, dtypes=("float32",), needs="Trainer")
def a_trainer_leaves_random_states_alone(context: Context) -> None:
    """The framework's, Python's and NumPy's."""
    with untouched(context.backend, "a step, predict and state of a Trainer"):
        start = starting("momentum", 0, context.dtype)
        trainer, _ = train(context.backend, RECIPES["momentum"], start, context.dtype, 1)
        trainer.predict(TRAINED.images())
        trainer.state()
