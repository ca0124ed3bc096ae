"""What the contract of a trainer promises, its numbers apart.

`python trainer_promises.py BACKEND` prints the list of the promises that the backend breaks.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import resnet_core as rn
from resnet_core.training.contract import StepInputs, TrainingState
from resnet_core.training.schedule import step_numbers
from resnet_core.training.targets import target_distribution

SPEC = rn.spec("resnet20", depths=[1], channels=[4], classes=3)
RECIPE = rn.recipe("fashion-adam", batch_size=4)


def inputs(step: int) -> StepInputs:
    """Read-only arrays: whoever writes into them fails."""
    rng = np.random.default_rng(step)
    images = rng.standard_normal((4, 8, 8, 3)).astype(np.float32)
    targets = target_distribution(rng.integers(0, 3, 4), 3, 0.1)
    images.flags.writeable = targets.flags.writeable = False
    return StepInputs(images, targets, step_numbers(RECIPE, 10, step))


def unchanged(state: TrainingState, before: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(before[name], array) for name, array in state.to_arrays().items())


def copied(state: TrainingState) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in state.to_arrays().items()}


def broken(make: Any) -> list[str]:
    """The promises that a Trainer breaks."""
    start = TrainingState(rn.initialize(SPEC))
    given = copied(start)
    plain, watched = make(SPEC, RECIPE, start), make(SPEC, RECIPE, start)
    found = []
    for step in range(3):
        plain.step(inputs(step))
        watched.predict(inputs(9).images)
        watched.step(inputs(step))
    state = watched.state()
    if not unchanged(state, copied(plain.state())):  # running statistics too, which no loss reads
        found.append("predict changes nothing")
    kept = copied(state)
    watched.step(inputs(3))
    if not unchanged(state, kept):
        found.append("state gives copies")
    if not unchanged(start, given):
        found.append("the given state is not changed")
    if state.step != 3 or set(state.slots) != set(RECIPE.slots):
        found.append("state has the step and the slots of the recipe")
    resumed = make(SPEC, RECIPE, state)
    resumed.step(inputs(3))
    if not unchanged(resumed.state(), copied(watched.state())):
        found.append("a trainer made from a state continues the run")
    if not unchanged(state, kept):
        found.append("a resumed trainer keeps nothing of its state")
    return found


if __name__ == "__main__":
    backend = rn.load_backend(sys.argv[1])
    backend.configure("cpu", "float32")
    print(broken(backend.Trainer))
