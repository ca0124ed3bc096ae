"""A program that trains is this project's own training: losses, weights and statistics, and each step's rate."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from printing import Case, Found, print_program, run_programs
from test_text import code_lines

import resnet_core as rn
from engine_pool import EnginePool
from resnet_core.errors import InputError
from resnet_core.numerics import relative_error
from resnet_core.spec_files import to_json
from resnet_core.training.contract import TrainingState
from resnet_core.training.recipe import Recipe
from resnet_core.training.recipe_files import DEFAULT, RECIPES, recipe_to_json
from resnet_core.training.recipe_files import recipe as named
from resnet_core.training.running_variance import variance_corrections
from resnet_core.training.schedule import learning_rate, total_steps

FRAMEWORKS = ("torch", "keras", "flax")
SPEC = rn.spec("resnet20", channels=[4], depths=[1], classes=7, input_size=[12, 11])

#: What is dropped surely is dropped alike by every source of random numbers.
SURELY = 1 - 1e-9
SPECS = {"dropping": rn.spec(SPEC, dropout=SURELY, drop_path=SURELY, drop_path_rule="uniform")}

#: Steps of a run, and those of an epoch: the batches come twice.
STEPS, PER_EPOCH = 4, 2
TOLERANCE = 1e-10

KINDS: dict[str, Recipe] = {
    "momentum": Recipe(
        learning_rate=0.05, momentum=0.9, weight_decay=1e-3, schedule="step", milestones=[2], steps=4, batch_size=6
    ),
    "nesterov": Recipe(
        learning_rate=0.05, momentum=0.9, nesterov=True, weight_decay=1e-2, decay_all=False, schedule="cosine",
        warmup=1, epochs=2, label_smoothing=0.1, batch_size=6,
    ),
    "plain": Recipe(learning_rate=0.05, weight_decay=1e-3, schedule="step", milestones=[1.5], epochs=2, batch_size=6),
    "constant": Recipe(learning_rate=0.05, momentum=0.9, nesterov=True, epochs=2, batch_size=6),
    "adam": Recipe(optimizer="adam", learning_rate=0.003, weight_decay=1e-2, warmup=3, steps=4, batch_size=6),
    "adamw": Recipe(
        optimizer="adamw", learning_rate=0.003, betas=[0.8, 0.99], epsilon=1e-6, weight_decay=0.1, decay_all=False,
        schedule="cosine", epochs=2, batch_size=6,
    ),
    "dropping": Recipe(learning_rate=0.05, momentum=0.9, weight_decay=1e-3, epochs=2, batch_size=6),
}  # fmt: skip

#: Backend to {defect: (recipe, what stands there, what is planted)}.
DEFECTS: dict[str, dict[str, tuple[str, str, str]]] = {
    "torch": {
        "decay": ("momentum", "weight_decay=0.001", "weight_decay=0.0011"),
        "momentum": ("momentum", "momentum=0.9", "momentum=0.89"),
        "a drop one step later": ("momentum", "step >= milestone", "step > milestone"),
        "norms decay": ("nesterov", 'others, "weight_decay": 0.0}', 'others, "weight_decay": 0.01}'),
        "no smoothing": ("nesterov", ", label_smoothing=0.1", ""),
        "epsilon": ("adamw", "eps=1e-6", "eps=2e-6"),
        "evaluation mode": ("momentum", "model.train()", "model.eval()"),
        "nothing dropped": ("dropping", "nn.Dropout(", "nn.Dropout(0 * "),
        "gradients add up": ("momentum", "    optimizer.zero_grad()\n", ""),
    },
    "keras": {
        "decay": ("momentum", "0.001 * variable", "0.0011 * variable"),
        "the rate inside the momentum": ("momentum", "model.compile(SGD", "model.compile(keras.optimizers.SGD"),
        "the old rate": ("momentum", "learning_rate(step)", "learning_rate(step - 1)"),
        "norms decay": ("nesterov", "if len(variable.shape) > 1:", "if len(variable.shape) > 0:"),
        "no look ahead": ("nesterov", "(gradient + self.momentum * buffer)", "buffer"),
        "epsilon before the correction": ("adam", "model.compile(Adam", "model.compile(keras.optimizers.Adam"),
    },
    "flax": {
        "decay": ("momentum", "add_decayed_weights(0.001)", "add_decayed_weights(0.0011)"),
        "momentum": ("momentum", "momentum=0.9", "momentum=0.89"),
        "warm-up": ("nesterov", "step + 1, per_epoch", "step, per_epoch"),
        "norms decay": ("nesterov", ", mask=kernels", ""),
        "the decay behind Adam": ("adam", "optax.chain(decay, adam)", "optax.chain(adam, decay)"),
        "evaluation mode": ("momentum", "model.train()", "model.eval()"),
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def pool() -> Iterator[EnginePool]:
    found = EnginePool("cpu", {})
    yield found
    found.close()


def epoch() -> Found:
    """Two batches of random pictures."""
    rng = np.random.default_rng(9)
    images = rng.standard_normal((PER_EPOCH, 6, *SPEC.input_size, SPEC.in_channels))
    return {"images": images, "labels": rng.integers(0, SPEC.classes or 1, (PER_EPOCH, 6))}


@cache
def truth(pool: EnginePool, backend: str, kind: str) -> Found:
    """`loss` and `trained NAME` of this project's own trainer in the framework."""
    recipe = KINDS[kind]
    batches = {name: np.concatenate([array, array]) for name, array in epoch().items()}
    spec = SPECS.get(kind, SPEC)
    state = TrainingState(rn.probe_weights(spec, dtype="float64"))
    if recipe.epochs is not None:  # the trainer's process counts in steps
        stretched = {"milestones": [m * PER_EPOCH for m in recipe.milestones], "warmup": recipe.warmup * PER_EPOCH}
        recipe = replace(recipe, epochs=None, steps=STEPS, **stretched)
    asked = {"spec": to_json(spec), "recipe": recipe_to_json(recipe), "dtype": "float64"}
    _, found = pool.engine(backend, "float64").call("train_steps", {**state.to_arrays(), **batches}, **asked)
    weights = TrainingState.from_arrays(found).weights
    return {"loss": found["loss"], **{f"trained {name}": value for name, value in weights.items()}}


def cases_of(backend: str, recipes: dict[str, Recipe]) -> dict[str, Case]:
    found = {name: (SPECS.get(name, SPEC), plan) for name, plan in recipes.items()}
    return {
        name: Case(spec, print_program(spec, backend, plan), batches=epoch()) for name, (spec, plan) in found.items()
    }


def wrong(backend: str, found: Found, true: Found) -> dict[str, float]:
    """What of a run is another: {name: error}."""
    if found.keys() != true.keys():
        return dict.fromkeys(found.keys() ^ true.keys(), math.inf)
    if backend != "torch":  # whose rule is this project's; the others' own is the biased one
        found = {**found, **unbiased(found)}
    errors = {name: relative_error(found[name], true[name]) for name in true}
    return {name: error for name, error in errors.items() if not error <= TOLERANCE}


def unbiased(found: Found) -> Found:
    """The running variances that the unbiased rule had given over the same steps, all on as many values."""
    before, corrected = rn.probe_weights(SPEC, dtype="float64"), {}
    for name, (decay, factor) in variance_corrections(SPEC, epoch()["images"].shape[1:]).items():
        kept = decay**STEPS * before[name]
        corrected[f"trained {name}"] = kept + (found[f"trained {name}"] - kept) * factor
    return corrected


#: Of Keras and Flax in the ordinary profile.
ORDINARY = ("momentum", "nesterov", "adam", "dropping")


@pytest.mark.parametrize("backend", FRAMEWORKS)
def test_four_steps_are_this_projects_own(
    backend: str, pool: EnginePool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Every kind in PyTorch; in Keras and Flax, whose graphs are slow to make, those with defects, and all are long."""
    everything = backend == "torch" or request.config.getoption("--long")
    cases = cases_of(backend, KINDS if everything else {name: KINDS[name] for name in ORDINARY})
    found = run_programs(backend, cases, tmp_path)
    assert {name: len(found[name]["loss"]) for name in cases} == dict.fromkeys(cases, STEPS)
    errors = {name: wrong(backend, found[name], truth(pool, backend, name)) for name in cases}
    assert {name: error for name, error in errors.items() if error} == {}


@pytest.mark.parametrize(
    "backend", ["torch", *(pytest.param(name, marks=pytest.mark.long) for name in FRAMEWORKS if name != "torch")]
)
def test_every_planted_defect_of_the_training_is_found(backend: str, pool: EnginePool, tmp_path: Path) -> None:
    cases = {}
    for number, (kind, old, new) in enumerate(DEFECTS[backend].values()):
        spec = SPECS.get(kind, SPEC)
        text = print_program(spec, backend, KINDS[kind])
        assert old in text, f"{kind}: nothing to plant in: {old}"
        name = f"defect{number}"
        cases[name] = Case(spec, text.replace(old, new), batches=epoch(), mutant=True)
    found = run_programs(backend, cases, tmp_path)
    true = {kind: truth(pool, backend, kind) for kind, _, _ in DEFECTS[backend].values()}
    kinds = [kind for kind, _, _ in DEFECTS[backend].values()]
    assert {name: str(own["error"]) for name, own in found.items() if "error" in own} == {}  # each runs, and is wrong
    seen = [bool(wrong(backend, found[name], true[kind])) for name, kind in zip(cases, kinds, strict=True)]
    assert [name for name, caught in zip(DEFECTS[backend], seen, strict=True) if not caught] == []


#: Every form that the expression of the rate can take.
SCHEDULES: dict[str, Recipe] = {
    **{name: named(name, statistics_batch=None) for name in RECIPES},
    **KINDS,
    "rising only": Recipe(learning_rate=0.1, warmup=5, steps=9, batch_size=1),
    "rising to the end": Recipe(learning_rate=0.1, schedule="cosine", warmup=3, epochs=3, batch_size=1),
    "half an epoch": Recipe(learning_rate=0.1, schedule="cosine", warmup=0.5, epochs=3, batch_size=1),
    "two drops": Recipe(learning_rate=0.1, schedule="step", milestones=[1, 2.25], factor=0.3, epochs=4, batch_size=1),
    "rise and drop": Recipe(learning_rate=3e-5, schedule="step", milestones=[2, 3], warmup=2, epochs=4, batch_size=1),
    "rise from above": Recipe(learning_rate=0.1, warmup=5, warmup_from=0.03, steps=9, batch_size=4, rate_batch=2),
    "rise from the full rate": Recipe(learning_rate=0.1, warmup=5, warmup_from=3, steps=9, batch_size=1),
    "rise from above and fall": Recipe(
        learning_rate=0.1, schedule="cosine", warmup=1, warmup_from=0.03, epochs=3, batch_size=1
    ),
    "rise from above and drop": Recipe(
        learning_rate=0.1, schedule="step", milestones=[1], warmup=2, warmup_from=0.03, epochs=3, batch_size=1
    ),
    "cosine in steps": Recipe(learning_rate=0.1, schedule="cosine", steps=50, batch_size=1),
}


@pytest.mark.parametrize("backend", FRAMEWORKS)
@pytest.mark.parametrize("name", SCHEDULES)
def test_each_steps_rate_is_the_recipes(name: str, backend: str) -> None:
    """The printed function at every step, or at the turns of a long run. Flax' functions are NumPy's here."""
    recipe, per_epoch = SCHEDULES[name], 8
    body = ast.parse(print_program(rn.spec("resnet20"), backend, recipe)).body
    (function,) = [n for n in body if isinstance(n, ast.FunctionDef) and n.name == "learning_rate"] or [None]
    total = total_steps(recipe, per_epoch)
    steps = range(total) if total < 1000 else [0, 31_999, 32_000, 47_999, 48_000, total - 1]
    expected = [learning_rate(recipe, per_epoch, step) for step in steps]
    if function is None:
        assert set(expected) == {recipe.learning_rate}
        return
    names: dict[str, Any] = {"math": math, "jnp": np, "Array": np.ndarray}
    exec(compile(ast.Module([function], []), name, "exec"), names)
    arguments = [per_epoch] if len(function.args.args) == 2 else []
    assert arguments == ([] if recipe.steps is not None else [per_epoch])
    found = [float(names["learning_rate"](step, *arguments)) for step in steps]
    assert found == pytest.approx(expected, rel=1e-13, abs=1e-17)


@pytest.mark.parametrize("backend", FRAMEWORKS)
@pytest.mark.parametrize("name", [*RECIPES, *KINDS])
def test_training_adds_few_lines(name: str, backend: str) -> None:
    spec, recipe = rn.spec("resnet20"), SCHEDULES[name]
    text = print_program(spec, backend, recipe)
    assert code_lines(text) - code_lines(print_program(spec, backend)) <= 40
    assert max(map(len, text.splitlines())) <= 88


def test_the_recipe_is_the_one_that_training_has_by_default() -> None:
    spec = rn.spec("resnet20")
    text = rn.source(spec, "torch", train=True)
    assert text == rn.source(spec, "torch", train=DEFAULT) == rn.source(spec, "torch", train=named(DEFAULT))
    assert f"--train --recipe {DEFAULT}`" in " ".join(text.split())
    assert "torch.optim.Adam(" in text
    changed = " ".join(rn.source(spec, "flax", train=named("cifar-2015", epochs=3, momentum=0.8)).split())
    assert "resnet source resnet20 --backend flax --train --recipe cifar-2015 --with momentum=0.8" in changed
    assert "--with epochs=3 --with steps=none" in changed
    assert rn.source(spec, "torch") == print_program(spec, "torch")


@pytest.mark.parametrize(
    ("spec", "backend", "said"),
    [
        (rn.spec("resnet20"), "numpy", "received a recipe for NumPy, whose programs do not train"),
        (rn.spec("resnet20", classes=None), "torch", "training needs one prediction per picture"),
    ],
)
def test_what_cannot_be_trained_is_one_line(spec: rn.ResNetSpec, backend: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        rn.source(spec, backend, train=True)
    assert "\n" not in str(caught.value)


def test_what_becomes_of_the_pictures_is_said_and_mixed_targets_are_refused() -> None:
    spec, own = rn.spec("resnet20"), named(DEFAULT, crop_area=[0.08, 1], contrast=0.2, hue=0.1, flip=True, cutout=8)
    text = " ".join(rn.source(spec, "torch", train=own).split())
    assert (
        "The recipe has its pictures cropped at random to 8% to 100% of their area, jittered in contrast, hue, "
        "mirrored half of the time, and blanked in a square of 8 pixels."
    ) in text
    for field in ("mixup", "cutmix"):
        with pytest.raises(InputError, match=f"{field}: received 1; programs have one class per picture, expected"):
            rn.source(spec, "torch", train=named(DEFAULT, **{field: 1}))


@pytest.mark.parametrize(
    "field",
    [
        {"freeze": ("stem",)},
        {"rates": {"head": 2.0}},
        {"clip_norm": 1.0},
        {"average": 0.0},
        {"accumulate": 2, "drop_last": True},
        {"statistics_batch": 32, "drop_last": True},
    ],
    ids=str,
)
def test_what_a_program_does_not_do_is_refused(field: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"^{next(iter(field))}: received .*; a printed program trains without it"):
        print_program(SPEC, "torch", named("fashion-adam", **field))
