"""`conformance`: every check on one backend, in worker processes; one that crashes or hangs fails that check alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

import resnet_core.conformance.checks  # noqa: F401  (registers the checks)
from resnet_core import backend as contract
from resnet_core.conformance.check import CHECKS
from resnet_core.conformance.defects import DEFECTS
from resnet_core.conformance.report import ConformanceReport, Result
from resnet_core.errors import BackendError, InputError, WorkerError
from resnet_core.weights import DTYPES
from resnet_core.workers.answers import typed
from resnet_core.workers.parent import Worker

PLANTED = "planted defects"
#: The parts of the kit.
GROUPS = (*dict.fromkeys(check.group for check in CHECKS.values()), PLANTED)

#: Seconds that a single check may take; right code takes one or two, with a compiler's start some more.
TIME_LIMIT = 60.0
#: After so many processes of a row have ended or hung, the rest of it is given up.
LIVES = 3


@dataclass(frozen=True, slots=True)
class _Task:
    """One request to a worker: a check's case, or a planted defect. `needs` are optional verbs."""

    result: Result
    needs: tuple[str, ...]
    function: str
    arguments: Mapping[str, Any]


def conformance(
    backend: str,
    *,
    python: str | None = None,
    environment: Mapping[str, str] | None = None,
    groups: Sequence[str] | None = None,
    dtypes: Sequence[str] = DTYPES,
    time_limit: float = TIME_LIMIT,
    progress: Callable[[str], None] = lambda message: None,
) -> ConformanceReport:
    """Hold a registered backend to the contract, on a CPU: every check, or those of some `groups` (`GROUPS`).

    Checks that are made in both dtypes are made in `dtypes`, the others in their own.
    `python` is an interpreter of the backend's own, `environment` adds variables, `time_limit` is in seconds for one
    check, `progress` is told what is done. Raises InputError for an unknown backend or group, MissingBackendError
    where its framework is not installed. A package that lacks what the contract names is a report that says so.
    """
    for group in groups or ():
        if group not in GROUPS:
            raise InputError(f"group: received {group!r}; expected one of {', '.join(GROUPS)}")
    start = time.perf_counter()
    run = _Run(backend, python, environment or {}, time_limit, progress)
    try:
        results = run.all(_rows(tuple(groups or GROUPS), dtypes))
    except BackendError as error:
        results = [Result("declaration", "the package keeps the names of the contract", "", "", "failed", str(error))]
    results.sort(key=lambda result: GROUPS.index(result.group))
    seconds = round(time.perf_counter() - start, 1)
    return ConformanceReport(backend, run.versions, run.exact_float64, tuple(results), seconds)


@dataclass(frozen=True, slots=True)
class Said:
    """What a backend says of itself: whether float64 is exact, what it has of the rest, and the versions."""

    exact_float64: bool
    offered: tuple[str, ...]
    versions: dict[str, str]


class _Run:
    """The workers of one run, and how far it is."""

    def __init__(
        self,
        backend: str,
        python: str | None,
        environment: Mapping[str, str],
        time_limit: float,
        progress: Callable[[str], None],
    ) -> None:
        self.backend, self.python, self.time_limit, self.progress = backend, python, time_limit, progress
        # One thread each: nothing here is large, and two processes work at the same time.
        quick = contract.declared(backend, "QUICK_ENVIRONMENT", {})
        self.defaults = {"OMP_NUM_THREADS": "1", **contract.environment(backend), **quick}
        self.environment = environment
        self.versions: dict[str, str] = {}
        self.exact_float64 = False
        self.total, self.done, self.lock = 0, 0, Lock()

    def all(self, rows: Sequence[tuple[str, bool, list[_Task]]]) -> list[Result]:
        """The results of all rows, two rows at a time."""
        self.total = sum(len(tasks) for *_, tasks in rows)
        with ThreadPoolExecutor(2) as pool:
            futures = [pool.submit(self.row, *row) for row in rows]
            return [result for future in futures for result in future.result()]

    def row(self, dtype: str, configured: bool, tasks: Sequence[_Task]) -> list[Result]:
        """The results of tasks that share a process, as long as it lives."""
        results: list[Result] = []
        worker: Worker | None = None
        said = Said(False, (), {})
        lives = LIVES
        try:
            for task in tasks:
                start = time.perf_counter()
                try:
                    if not lives:
                        raise WorkerError(f"was not run, since {LIVES} processes before it have ended or hung")
                    if worker is None:
                        worker = Worker(self.python, self.environment, self.defaults)
                        said = self.open(worker, dtype, configured)
                    status, message = self.ask(worker, task, dtype, said)
                except WorkerError as error:
                    status, message = "failed", str(error)
                    if worker is not None:
                        worker.close()
                        worker, lives = None, lives - 1
                seconds = round(time.perf_counter() - start, 3)
                results.append(replace(task.result, status=status, message=message, seconds=seconds))
                self.tell(task.result)
        finally:
            if worker is not None:
                worker.close()
        return results

    def open(self, worker: Worker, dtype: str, configured: bool) -> Said:
        """Load the backend in a new process."""
        answer, _ = worker.call(
            "resnet_core.conformance.worker:open_backend",
            time_limit=2 * self.time_limit,
            backend=self.backend,
            dtype=dtype,
            configure=configured,
        )
        said = typed("versions and exact_float64", answer, Said)
        self.versions, self.exact_float64 = said.versions, said.exact_float64
        return said

    def ask(self, worker: Worker, task: _Task, dtype: str, said: Said) -> tuple[str, str]:
        """(status, message) of one task."""
        if dtype == "float64" and not said.exact_float64:
            return "not offered", "the package has no exact float64"
        if lacking := [name for name in task.needs if name not in said.offered]:
            return "not offered", f"the package has no {' and no '.join(lacking)}"
        function = f"resnet_core.conformance.worker:{task.function}"
        message, _ = worker.call(function, time_limit=self.time_limit, **dict(task.arguments))
        return ("failed", str(message)) if message else ("passed", "")

    def tell(self, result: Result) -> None:
        """How far the run is."""
        with self.lock:
            self.done += 1
            self.progress(f"{self.done}/{self.total} {result.group}: {result.name}")


def _rows(groups: Sequence[str], dtypes: Sequence[str]) -> list[tuple[str, bool, list[_Task]]]:
    """(dtype, whether the process is configured, its tasks): a row for each dtype, and one for each fresh process."""
    shared: dict[str, list[_Task]] = {"float32": [], "float64": []}
    fresh: list[tuple[str, bool, list[_Task]]] = []
    for check in CHECKS.values():
        asked = [dtype for dtype in check.dtypes if dtype in dtypes] or check.dtypes
        for dtype in asked if check.group in groups else ():
            for case in check.cases:
                arguments = {"name": check.name, "case": case, "dtype": dtype}
                task = _Task(Result(check.group, check.name, case, dtype), check.needs, "run_check", arguments)
                if check.fresh:
                    fresh.append((dtype, False, [task]))
                else:
                    shared[dtype].append(task)
    for name, defect in DEFECTS.items():
        check = CHECKS[defect.check]
        if PLANTED in groups and (check.group in groups or len(groups) == 1):
            task = _Task(Result(PLANTED, name, "", defect.dtype), check.needs, "run_defect", {"name": name})
            shared[defect.dtype].append(task)
    return [*((dtype, True, tasks) for dtype, tasks in shared.items() if tasks), *fresh]
