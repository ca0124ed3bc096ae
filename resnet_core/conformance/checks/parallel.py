"""Several processes: the framework's own way to meet, and a step that is that of one process."""

from __future__ import annotations

import importlib
import socket
from typing import Any

import numpy as np

from resnet_core.conformance.check import Context, check, expect, expect_close
from resnet_core.conformance.checks.trainer import CLASSES, RECIPES, STEPS, batch, expect_state, starting
from resnet_core.conformance.networks import TRAINED
from resnet_core.conformance.subjects import reference
from resnet_core.training.contract import StepInputs, StepResult, TrainingState
from resnet_core.training.parallel.place import Place
from resnet_core.training.parallel.shards import shard
from resnet_core.training.schedule import step_numbers
from resnet_core.training.targets import target_distribution
from resnet_core.workers.child import Arrays, Session
from resnet_core.workers.parent import Worker

GROUP = "parallel"
PROCESSES = 2
#: {recipe: images of a batch}: not divided by the number of processes, and as many groups as there are processes.
IMAGES = {"momentum": 5, "groups": 6}


def whole(case: str, step: int) -> StepInputs:
    """The whole batch of a step."""
    recipe, (images, labels), count = RECIPES[case], batch(step), IMAGES[case]
    targets = target_distribution(labels[:count], CLASSES, recipe.label_smoothing)
    return StepInputs(images[:count], targets, step_numbers(recipe, 1, step))


def steps(dtype: str) -> int:
    """How many a process takes."""
    return 2 if dtype == "float64" else 1


def taken(backend: Any, place: Place, case: str, dtype: str) -> tuple[list[StepResult], TrainingState]:
    """What a process says and has after its steps: with shards of their own lengths, if it takes them, and filled up.

    The lengths are two and three, or those of groups. In float32 there is the first step alone: a second begins with
    the first one's noise.
    """
    group = backend.join(place, "cpu")
    trainer = backend.ParallelTrainer(
        TRAINED.spec, RECIPES[case], starting(case, STEPS, dtype), dtype=dtype, group=group
    )
    results = [
        trainer.step(
            shard(whole(case, STEPS + number), place.rank, place.processes, equal=trainer.equal or bool(number))
        )
        for number in range(steps(dtype))
    ]
    found = trainer.state()
    group.leave()
    return results, found


def other(
    session: Session, arrays: Arrays, *, package: str, rank: int, port: int, case: str, dtype: str
) -> tuple[dict[str, Any], Arrays]:
    """One of the other processes."""
    backend = importlib.import_module(package)
    backend.configure("cpu", dtype)
    results, found = taken(backend, Place(rank, PROCESSES, port=port), case, dtype)
    losses = [[result.loss, result.correct] for result in results]
    return {"results": losses, "step": found.step}, found.to_arrays()


@check(GROUP, needs="ParallelTrainer join", fresh=True)
def two_processes_take_the_steps_of_one(context: Context) -> None:
    """Loss, `correct`, weights, statistics and slots, of shards that are unequal, and of others that are filled up."""
    _steps_of_one(context, "momentum")


@check(GROUP, needs="ParallelTrainer join grouped", fresh=True)
def two_processes_take_whole_groups(context: Context) -> None:
    """Norms take groups of the batch by themselves, of which each process has some: the same, of a recipe with them."""
    _steps_of_one(context, "groups")


def _steps_of_one(context: Context, case: str) -> None:
    dtype, start = context.dtype, starting(case, STEPS, "float64")
    one = reference().Trainer(TRAINED.spec, RECIPES[case], start, dtype="float64")
    true = [one.step(whole(case, STEPS + number)) for number in range(steps(dtype))]
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    context.backend.configure("cpu", dtype)
    with Worker(defaults=context.backend.ENVIRONMENT) as worker:
        task = f"{__name__}:other"
        worker.submit(task, package=context.backend.__name__, rank=1, port=port, case=case, dtype=dtype)
        own = taken(context.backend, Place(0, PROCESSES, port=port), case, dtype)
        said, arrays = worker.result()
    theirs = [StepResult(*each) for each in said["results"]], TrainingState.from_arrays(arrays, said["step"])
    for rank, (results, found) in enumerate((own, theirs)):
        for step, (result, expected) in enumerate(zip(results, true, strict=True)):
            what = f"rank {rank}: loss of step {step}"
            expect_close(what, np.array(result.loss), np.array(expected.loss), context.tolerance("step"))
            same = result.correct == expected.correct
            expect(
                same, f"rank {rank}: correct: received {result.correct}; expected {expected.correct} of {IMAGES[case]}"
            )
        expect_state(f"rank {rank}", found, one.state(), context.tolerance("step"))
