"""A run with dropout and stochastic depth: what is drawn, and that it goes on to the same bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from run_work import Work, weights

import resnet_core as rn
import resnet_numpy
from resnet_core.architecture import layer_tree
from resnet_core.errors import InputError
from resnet_core.training import random_factors as drawing

SPEC = rn.spec("resnet20", depths=[1, 2], channels=[4, 8], in_channels=1, dropout=0.5, drop_path=0.4)
SHAPE = (64, 28, 28, 1)


def factors(seed: int = 3, step: int = 5, spec: rn.ResNetSpec = SPEC) -> dict[str, np.ndarray]:
    return drawing.random_factors(layer_tree(spec), seed, step, SHAPE)


def test_a_layers_factors_are_zero_or_one_over_the_rest() -> None:
    found = factors()
    # Of three blocks, the first has the rate 0 and no layer, the others have half and all of it.
    rates = {"stage2.block1.drop_path": 0.2, "stage2.block2.drop_path": 0.4, "head.dropout": 0.5}
    assert {path: array.shape for path, array in found.items()} == {
        path: (64, 8) if "dropout" in path else (64,) for path in rates
    }
    for path, rate in rates.items():
        assert set(np.unique(found[path])) == {0.0, 1 / (1 - rate)}
        share = (found[path] == 0).mean()
        assert abs(share - rate) < 4 * (rate * (1 - rate) / found[path].size) ** 0.5, path  # four deviations


def test_they_depend_on_the_seed_the_step_and_the_path_and_on_nothing_else() -> None:
    found, path = factors(), "stage2.block2.drop_path"
    for same in (factors(), factors(spec=rn.spec(SPEC, dropout=0.0, channels=[8, 8]))):
        np.testing.assert_array_equal(same[path], found[path])
    for other in (factors(seed=4), factors(step=6)):
        assert any((other[path] != found[path]).ravel())
    uniform = factors(spec=rn.spec(SPEC, drop_path_rule="uniform"))
    assert any(uniform["stage2.block1.drop_path"] != uniform[path])


def train(work: Work, run: str, **more: Any) -> rn.TrainingResult:
    recipe = rn.recipe(work.folder / "recipe.toml", steps=6, average=None)
    given: dict[str, Any] = {"spec": SPEC, "data": work.folder / "data.npz", "backend": "numpy", "recipe": recipe}
    return rn.train(out=work.folder / run, checkpoint_every=2, **{**({} if more.get("resume") else given), **more})


class Killed(Exception):
    """Stands for a process that ends in a step."""


def test_a_run_that_was_killed_goes_on_to_the_same_bits(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    train(work, "whole")
    step = resnet_numpy.Trainer.step

    def killed(self: Any, inputs: Any) -> Any:
        if self.steps == 3:
            raise Killed
        return step(self, inputs)

    with monkeypatch.context() as patch:
        patch.setattr(resnet_numpy.Trainer, "step", killed)
        with pytest.raises(Killed):
            train(work, "run")
    train(work, "run", resume=True)
    whole, resumed = weights(work.folder / "whole"), weights(work.folder / "run")
    assert all(np.array_equal(whole[name], resumed[name]) for name in whole)

    with monkeypatch.context() as patch:  # the same check catches factors that depend on when a run began
        patch.setattr(drawing, "PURPOSE", drawing.PURPOSE + 1)
        train(work, "other")
    other = weights(work.folder / "other")
    assert not all(np.array_equal(whole[name], other[name]) for name in whole)


def test_a_trainer_that_takes_no_factors_is_refused_before_anything_is_written(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resnet_numpy.Trainer, "inputs", resnet_numpy.Trainer.inputs - {"factors"})
    with pytest.raises(InputError, match=r"^dropout: received 0\.5; this backend's trainer takes only 0"):
        train(work, "run")
    assert not (work.folder / "run").exists()
    train(work, "plain", spec=rn.spec(SPEC, dropout=0.0, drop_path=0.0))
