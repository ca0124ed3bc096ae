"""Every backend's trainer keeps the promises of `resnet_core.training.contract.Trainer`, numbers apart."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import trainer_promises
from run_work import ENVIRONMENT

import resnet_numpy
from resnet_core.training.contract import StepInputs, StepResult, TrainingState


@pytest.mark.parametrize("backend", ["torch", "keras", "flax", "numpy"])
def test_a_trainer_keeps_its_promises(backend: str) -> None:
    process = subprocess.run(
        [sys.executable, str(Path(trainer_promises.__file__)), backend],
        capture_output=True, text=True, timeout=300, check=False, env={**os.environ, **ENVIRONMENT},
    )  # fmt: skip
    assert (process.returncode, process.stdout) == (0, "[]\n"), process.stdout + process.stderr


class Views(resnet_numpy.Trainer):
    def state(self) -> TrainingState:
        return TrainingState(self.model.weights, self.optimizer.slots, self.steps)


class Learning(resnet_numpy.Trainer):
    def predict(self, images: np.ndarray) -> np.ndarray:
        return np.asarray(self.model(images, training=True))


class Forgetful(resnet_numpy.Trainer):
    def state(self) -> TrainingState:
        return TrainingState(super().state().weights, {}, self.steps)


class Counting(resnet_numpy.Trainer):
    def step(self, inputs: StepInputs) -> StepResult:
        self.steps += 1
        return super().step(inputs)


@pytest.mark.parametrize(
    ("defect", "promise"),
    [
        (Views, "state gives copies"),
        (Learning, "predict changes nothing"),
        (Forgetful, "a trainer made from a state continues the run"),
        (Counting, "state has the step and the slots of the recipe"),
    ],
)
def test_a_broken_promise_is_caught(defect: type, promise: str) -> None:
    assert promise in trainer_promises.broken(defect)


def test_a_state_that_is_written_into_is_caught() -> None:
    class Careless(resnet_numpy.Trainer):
        def __init__(self, spec: object, recipe: object, state: TrainingState, **rest: object) -> None:
            super().__init__(spec, recipe, state, **rest)
            state.weights["head.linear.bias"] += 1

    assert "the given state is not changed" in trainer_promises.broken(Careless)
