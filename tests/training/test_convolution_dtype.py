"""Runs whose convolutions compute in bfloat16: what is recorded, how they go on, and who cannot."""

from __future__ import annotations

import json

import numpy as np
import pytest
from run_work import Work, done, refused, resnet, weights

import resnet_core as rn
from resnet_core.numerics import relative_distance
from resnet_core.training.averaging import AveragingTrainer
from resnet_core.training.contract import TrainingState
from resnet_core.training.recipe_files import recipe
from toys.registry import register

ROUNDING = ("--with", "convolution_dtype=bfloat16")


@pytest.mark.parametrize("backend", ["torch", "keras", "flax"])
def test_a_run_says_so_and_its_weights_are_float32_for_everyone(work: Work, backend: str) -> None:
    """The first step, in every framework, is the reference's; evaluating it needs no bfloat16."""
    done(work.train(backend, "run", *ROUNDING, "--steps", "1", "--with", "milestones=[1]"))
    run = work.folder / "run"
    assert 'convolution_dtype = "bfloat16"' in (run / "recipe.toml").read_text()
    found = weights(run)
    assert {array.dtype for array in found.values()} == {np.dtype("float32")}
    done(work.train("numpy", "truth", *ROUNDING, "--steps", "1", "--with", "milestones=[1]"))
    truth, start = weights(work.folder / "truth"), rn.initialize(rn.spec(run / "spec.toml"), 0)
    moved = {name for name in truth if relative_distance(truth[name], start[name]) > 1e-6}
    assert len(moved) > 10
    for name in moved:
        assert relative_distance(found[name] - start[name], truth[name] - start[name]) < 0.02, name
    process = done(resnet("evaluate", run, "--data", work.folder / "data.npz", "--backend", "numpy", "--json"))
    assert 0 <= json.loads(process.stdout)["accuracy"] <= 1


@pytest.mark.parametrize(
    "backend", ["torch", *(pytest.param(name, marks=pytest.mark.long) for name in ("keras", "flax"))]
)
def test_a_run_that_goes_on_has_the_same_bits_and_needs_nothing_said(work: Work, backend: str) -> None:
    done(work.train(backend, "whole", *ROUNDING, "--until", "2"))
    done(work.train(backend, "run", *ROUNDING, "--until", "1"))
    done(resnet("train", "--out", work.folder / "run", "--resume", "--until", "2", "--backend", backend))
    one, other = weights(work.folder / "whole"), weights(work.folder / "run")
    assert all(np.array_equal(one[name], other[name]) for name in one)
    done(work.train(backend, "plain", "--until", "2"))
    plain = weights(work.folder / "plain")
    assert not np.array_equal(one["stem.conv.weight"], plain["stem.conv.weight"])


def test_an_average_is_evaluated_as_the_network_is_trained() -> None:
    """With the weights of the start, an average is the network itself, to the bit; in float32 it would be another."""
    spec = rn.spec("resnet20", depths=(1,), channels=(4,), classes=5)
    plan = recipe("d2l", average=0.9, convolution_dtype="bfloat16")
    state, images = TrainingState(rn.initialize(spec, 0)), np.ones((2, 9, 9, 3), np.float32)
    backend = rn.load_backend("numpy")
    trainer = backend.Trainer(spec, plan, state, dtype="float32")
    found = AveragingTrainer(trainer, backend, spec, plan, state).predict(images)
    assert np.array_equal(found, trainer.predict(images))
    assert not np.array_equal(found, backend.predict(backend.build(spec, weights=state.weights), images))


def test_float64_and_a_backend_without_are_one_line_and_leave_nothing(work: Work) -> None:
    told = "convolution_dtype: received 'bfloat16'; allowed is none in float64; train in float32"
    refused(work.train("torch", "run", *ROUNDING, "--dtype", "float64"), told)
    told = "convolution_dtype: received 'float16'; allowed is \"bfloat16\", in which convolutions compute"
    refused(work.train("torch", "run", "--with", "convolution_dtype=float16"), told)
    environment = register(work.folder / "toys", "equal")
    refused(work.train("equal", "run", *ROUNDING, **environment), "backend equal has no convolutions in bfloat16")
    assert not (work.folder / "run").exists()


def test_a_printed_program_does_not_train_so() -> None:
    process = resnet("source", "resnet20", "--backend", "torch", "--train", *ROUNDING)
    refused(process, "convolution_dtype: received 'bfloat16'; a printed program trains without it: leave it out")
