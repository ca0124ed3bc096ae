"""What the processes of a group are asked in the tests of several processes."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

from shared_steps import GROUPED, RECIPES, SPECS, one_process, start, taken, without_gradient

from resnet_core.training.parallel.gloo import joined
from resnet_core.training.parallel.place import Place
from resnet_core.training.parallel.trainer import ShardingTrainer
from resnet_core.workers.child import Arrays

EVERY_RECIPE = {**RECIPES, **GROUPED}


def prepare(session: Any, arrays: Arrays, *, backend: str) -> tuple[None, None]:
    """Import the backend, for exact float64."""
    session.backend = import_module(f"resnet_{backend}")
    session.backend.configure("cpu", "float64")
    if backend == "torch":
        import torch

        torch.set_num_threads(1)
    if backend == "keras":
        from keras.src.backend.common import dtypes

        dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64"  # otherwise Keras' norms compute in float32
    return None, None


def part(session: Any, arrays: Arrays) -> tuple[None, None]:
    """Leave the group, if there is one: all of them do."""
    if getattr(session, "group", None) is not None:
        session.group.leave()
    session.group = None
    return None, None


def meet(session: Any, arrays: Arrays, *, rank: int, processes: int, port: int) -> tuple[None, None]:
    """Join a group of so many."""
    session.group = joined(session.backend, Place(rank, processes, port=port), "cpu")
    return None, None


def policies(session: Any, arrays: Arrays) -> tuple[list[int], None]:
    """How the system schedules this thread, and each of those that interrupt nobody."""
    found = [os.sched_getscheduler(int(thread.name)) for thread in Path("/proc/self/task").iterdir()]
    return [os.sched_getscheduler(0), *(policy for policy in found if policy == os.SCHED_BATCH)], None


def share(session: Any, arrays: Arrays, *, spec: str, recipe: str, count: int, dtype: str) -> tuple[None, Arrays]:
    """What this process has after so many steps of the group."""
    network, plan = SPECS[spec], EVERY_RECIPE[recipe]
    make = session.backend.ParallelTrainer
    own = make(network, plan, start(network, dtype), dtype=dtype, group=session.group)
    return None, taken(ShardingTrainer(own, session.group, plan.accumulate, equal=own.equal), network, plan, count)


def predict(session: Any, arrays: Arrays, *, spec: str) -> tuple[None, Arrays]:
    """The logits of the images, of which each process predicts some, and those of one process."""
    network, plan, images = SPECS[spec], RECIPES["momentum"], arrays["images"]
    own = session.backend.ParallelTrainer(network, plan, start(network), dtype="float64", group=session.group)
    found = ShardingTrainer(own, session.group, plan.accumulate, equal=own.equal).predict(images)
    return None, {"found": found, "true": one(session, network, plan).predict(images)}


def alone(session: Any, arrays: Arrays, *, spec: str, recipe: str, count: int, dtype: str) -> tuple[Any, Arrays]:
    """What one process has after the same steps, and whose gradients are rounding alone."""
    network = SPECS[spec]
    zeros = without_gradient(session.backend.Trainer, network)
    return sorted(zeros), one_process(session.backend.Trainer, network, EVERY_RECIPE[recipe], count, dtype)


def one(session: Any, network: Any, plan: Any) -> Any:
    """A trainer of one process."""
    return session.backend.Trainer(network, plan, start(network), dtype="float64")
