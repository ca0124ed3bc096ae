"""A run that averages its weights: the formula, what is evaluated and kept, and that it resumes to the same bits."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_work import Work, weights

import resnet_core as rn
from resnet_core.numerics import relative_error
from resnet_core.tolerances import TOLERANCES
from resnet_core.training import averaging
from resnet_core.training.checkpoint import load_checkpoint
from resnet_core.weights import Weights

SPEC = rn.spec("resnet20", depths=[1, 1], channels=[4, 8], in_channels=1)
DECAY, EVERY, STEPS = 0.9, 2, 14


def train(work: Work, run: str, backend: str = "numpy", **more: Any) -> rn.TrainingResult:
    recipe = rn.recipe(work.folder / "recipe.toml", steps=STEPS, average=DECAY, average_every=EVERY)
    fresh = {"spec": SPEC, "data": work.folder / "data.npz", "backend": backend, "recipe": recipe}
    given = {} if more.get("resume") else fresh
    return rn.train(out=work.folder / run, **{"checkpoint_every": 1, "keep": 99, **given, **more})


def states(run: Path) -> list[Any]:
    return [load_checkpoint(path).state for path in sorted((run / "checkpoints").iterdir())]


def written_out(run: Path) -> Weights:
    """The formula, with the weights of every step."""
    found = states(run)
    average = {name: array.astype(np.float64) for name, array in found[0].weights.items()}
    for updates, state in enumerate(found[EVERY::EVERY]):
        decay = min(DECAY, (1 + updates) / (10 + updates))
        average = {
            name: decay * average[name] + (1 - decay) * state.weights[name].astype(np.float64) for name in average
        }
    return average


def test_the_average_is_the_formulas_and_is_what_is_kept_and_evaluated(work: Work) -> None:
    result, run = train(work, "run"), work.folder / "run"
    truth, last = written_out(run), states(run)[-1]
    assert {array.dtype.name for array in last.average.values()} == {"float64"}
    assert max(relative_error(last.average[name], truth[name]) for name in truth) < 1e-14
    kept = weights(run)
    for name, array in truth.items():  # the statistics too
        np.testing.assert_array_equal(kept[name], array.astype(np.float32))
    assert any(not np.array_equal(kept[name], last.weights[name]) for name in kept if name.endswith("running_mean"))
    assert result.last is not None
    found = rn.evaluate(run, work.folder / "data.npz", backend="numpy", weights="last")
    assert (found.accuracy, found.loss) == (result.last.test_accuracy, result.last.test_loss)


def test_a_resumed_run_ends_with_the_same_bits(work: Work) -> None:
    train(work, "whole")
    for step in (3, 10):  # between two updates, and at the end of an epoch
        run = shutil.copytree(work.folder / "whole", work.folder / f"from{step}")
        for path in (run / "checkpoints").iterdir():
            if path.name > f"step-{step:09d}.safetensors":
                path.unlink()
        train(work, run.name, resume=True)
        for name in ("last.safetensors", "best.safetensors"):
            assert (run / name).read_bytes() == (work.folder / "whole" / name).read_bytes()


def without_statistics(average: Weights, values: Weights, decay: float, updates: int) -> Weights:
    found = RIGHT(average, values, decay, updates)
    return {name: average[name] if ".running_" in name else array for name, array in found.items()}


def without_warmup(average: Weights, values: Weights, decay: float, updates: int) -> Weights:
    return {name: decay * average[name] + (1 - decay) * values[name] for name in average}


RIGHT = averaging.averaged


@pytest.mark.parametrize("planted", [None, without_statistics, without_warmup])
def test_torch_has_numpys_average_and_a_planted_defect_has_not(
    work: Work, planted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = {"dtype": "float64", "checkpoint_every": STEPS}
    train(work, "numpy", **exact)
    if planted is not None:
        monkeypatch.setattr(averaging, "averaged", planted)
    train(work, "torch", "torch", **exact)
    true, found = (states(work.folder / run)[-1] for run in ("numpy", "torch"))
    error = max(relative_error(found.average[name], true.average[name]) for name in true.average)
    assert (error <= TOLERANCES["weights"]["float64"]) == (planted is None)
    if planted is None:
        steps = max(relative_error(found.weights[name], true.weights[name]) for name in true.weights)
        assert steps <= TOLERANCES["weights"]["float64"]
