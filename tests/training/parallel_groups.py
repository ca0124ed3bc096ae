"""Worker processes that train together, and what they are held to."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache

import numpy as np
from shared_steps import Found, differences

from engines import CPU, TESTS
from resnet_core.workers.parent import Worker

ONE_STEP, TWENTY_STEPS = 1e-12, 1e-10
LIMIT = 240
#: Of float32: that of several may be this much of one process's own, as sums are in another order; and what that is at
#: most, compiled as tests compile.
FACTOR, NOISE = 3, 1e-4


@contextmanager
def started(backend: str, number: int, environment: Mapping[str, str] = CPU) -> Iterator[list[Worker]]:
    """So many processes with a backend, of a thread each."""
    variables = {**CPU, **environment, "PYTHONPATH": f"{TESTS}:{TESTS / 'training'}", "OMP_NUM_THREADS": "1"}
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(environment=variables)) for _ in range(number)]
        asked(workers, "parallel_tasks:prepare", backend=backend)
        yield workers


def asked(workers: Sequence[Worker], task: str, arrays: Found | None = None, **arguments: object) -> list[Found]:
    """What each of them answers, all at once."""
    for worker in workers:
        worker.submit(task, arrays, **arguments)
    return [worker.result(LIMIT)[1] for worker in workers]


def met(workers: Sequence[Worker], processes: int) -> Sequence[Worker]:
    """The first few as a group; an earlier one parts."""
    asked(workers, "parallel_tasks:part")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    chosen = workers[:processes]
    for rank, worker in enumerate(chosen):
        worker.submit("parallel_tasks:meet", rank=rank, processes=processes, port=port)
    for worker in chosen:
        worker.result(LIMIT)
    return chosen


def shared(workers: Sequence[Worker], spec: str, recipe: str, count: int, dtype: str = "float64") -> list[Found]:
    """What each of a group has after so many steps."""
    return asked(workers, "parallel_tasks:share", spec=spec, recipe=recipe, count=count, dtype=dtype)


def alone(worker: Worker, spec: str, recipe: str, count: int, dtype: str = "float64") -> tuple[Found, set[str]]:
    """The truth, which is what one process has, and whose gradients are rounding alone."""
    zeros, true = worker.call(
        "parallel_tasks:alone", time_limit=LIMIT, spec=spec, recipe=recipe, count=count, dtype=dtype
    )
    return true, set(zeros)


def problems(every: Sequence[Found], true: Found, zeros: set[str], count: int) -> dict[str, float]:
    """What any process has that differs from the truth; and whether all have the same bits."""
    apart = {name: np.inf for name in every[0] for own in every[1:] if not np.array_equal(own[name], every[0][name])}
    return apart | differences(every[0], true, ONE_STEP if count == 1 else TWENTY_STEPS, zeros)


@cache
def truth(worker: Worker, spec: str, recipe: str, count: int) -> tuple[Found, set[str]]:
    """What one process has, kept."""
    return alone(worker, spec, recipe, count)


def wrong(worker: Worker, processes: int, spec: str, recipe: str, count: int = 1, defect: str = "") -> dict[str, float]:
    """What so many devices of a process have after the steps that one has not."""
    given = {"spec": spec, "recipe": recipe, "count": count}
    found = asked([worker], "parallel_devices:share", processes=processes, defect=defect, **given)
    return problems(found, *truth(worker, spec, recipe, count), count)


def hold_to_the_truth(workers: Sequence[Worker], processes: int, recipe: str) -> None:
    """20 steps, twice to the same bits; in float32, a step is as near as that of one process, but for a factor."""
    group = met(workers, processes)
    every = shared(group, "batch norm", recipe, 20)
    true, zeros = truth(workers[0], "batch norm", recipe, 20)
    assert problems(every, true, zeros, 20) == {}
    again = shared(group, "batch norm", recipe, 20)[0]
    assert all(np.array_equal(every[0][name], again[name]) for name in again)
    true, _ = truth(workers[0], "batch norm", recipe, 1)
    several, one = (
        noise(found[0], true, zeros)
        for found in (
            shared(group, "batch norm", recipe, 1, "float32"),
            alone(workers[0], "batch norm", recipe, 1, "float32"),
        )
    )
    assert several < FACTOR * one
    assert one < NOISE


def gives_way(worker: Worker) -> bool:
    """Whether a process that has met others computes in an ordinary thread, and Gloo's interrupts nobody."""
    if not hasattr(os, "SCHED_BATCH"):
        return True
    computing, *batch = worker.call("parallel_tasks:policies", time_limit=LIMIT)[0]
    return computing == os.SCHED_OTHER and bool(batch)


def predicts_alike(group: Sequence[Worker]) -> bool:
    """Whether what a group predicts together is what each predicts."""
    images = np.random.default_rng(1).standard_normal((5, 16, 13, 3)).astype(np.float32)
    every = asked(group, "parallel_tasks:predict", {"images": images}, spec="batch norm")
    return all(np.abs(own["found"] - own["true"]).max() < 1e-13 for own in every)


def noise(found: Found, true: Found, zeros: set[str]) -> float:
    """The largest error of a loss, a weight, a statistic or a slot."""
    return max(differences(found, true, 0.0, zeros).values())
