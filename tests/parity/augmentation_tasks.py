"""What a worker is asked in the tests of augmented runs: a run from its pictures on, rightly or with a defect."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from resnet_core.backend import optional
from resnet_core.data.named import dataset
from resnet_core.spec_files import from_json
from resnet_core.training import augmentation
from resnet_core.training import pipeline as pipeline_module
from resnet_core.training.contract import TrainingState
from resnet_core.training.mixing import Mixing
from resnet_core.training.pipeline import Pipeline
from resnet_core.training.random_factors import step_inputs
from resnet_core.training.recipe_files import recipe_from_json
from resnet_core.training.schedule import step_numbers
from resnet_core.workers.child import Arrays


def augmented_run(
    session: Any, arrays: Arrays, *, data: str, spec: str, recipe: str, defect: str | None
) -> tuple[None, Arrays]:
    """The `loss` of every step of the recipe on the data set, from the state in `arrays`, and the state then."""
    network, plan = from_json(spec), recipe_from_json(recipe)
    pipeline = Pipeline(dataset(Path(data)), plan, network)
    trainer = optional(session.backend, "Trainer")(network, plan, TrainingState.from_arrays(arrays), dtype="float64")
    losses = []
    with DEFECTS[defect]() if defect else nullcontext():
        for step, (images, labels) in pipeline.batches(0, pipeline.total_steps):
            numbers = step_numbers(plan, pipeline.steps_per_epoch, step)
            targets = pipeline.targets(step, labels)
            losses.append(trainer.step(step_inputs(network, plan.seed, step, images, targets, numbers)).loss)
    return None, {"loss": np.array(losses), **trainer.state().to_arrays()}


def _next_row(recipe: Any, purpose: int, step: int, row: int = 0) -> np.random.Generator:
    return np.random.default_rng([recipe.seed, purpose, step, row + 1])


def _blended(self: Mixing, images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """With the shares of the other one."""
    shares = self.shares[:, None, None, None]
    return (1 - shares) * images + shares * others


DEFECTS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "targets are not mixed": lambda: patch.object(Mixing, "targets", lambda self, targets, others: targets),
    "images are mixed the other way round": lambda: patch.object(Mixing, "images", _blended),
    "a crop is rounded down": lambda: patch.object(augmentation, "round", int, create=True),
    "a crop is tried once": lambda: patch.object(augmentation, "TRIES", 1),
    "rows count from one": lambda: patch.object(augmentation, "generator", _next_row),
    "nothing is cut out": lambda: patch.object(pipeline_module, "cut_out", lambda recipe, images, step, rows: images),
    "the order of the jitter is fixed": lambda: patch.object(
        augmentation, "jittered", lambda pixels, factors, order: _jittered(pixels, factors, augmentation.OPERATIONS)
    ),
}

_jittered = augmentation.jittered
