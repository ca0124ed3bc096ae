"""A backend in one form at one batch size, in a worker process of its own: what happens to it becomes its row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from resnet_core.backend import require_convolution_dtype
from resnet_core.benchmark.precision import Precision
from resnet_core.benchmark.proof import OutputProof, StepProof, Verdict
from resnet_core.benchmark.result import BenchmarkRow
from resnet_core.errors import InputError, MissingBackendError, ResNetError
from resnet_core.spec_files import to_json
from resnet_core.specification import ResNetSpec
from resnet_core.weights import Weights
from resnet_core.workers.backend_process import BackendProcess

Proof = OutputProof | StepProof
TASKS = "resnet_core.benchmark.worker"


@dataclass(frozen=True)
class Case:
    """What every contestant computes, and how."""

    spec: ResNetSpec
    weights: Weights
    size: tuple[int, int]
    device: str
    precision: Precision
    resident: bool
    rounds: int
    pythons: Mapping[str, str]
    time_limit: float


class Contestant:
    """Its methods raise nothing: an error ends its part, and nobody else's, and is in its row.

    `row` is what is known of it; None for a backend that does not train and would have to.
    """

    def __init__(self, case: Case, backend: str, form: str, batch: int, processes: ExitStack) -> None:
        self.row: BenchmarkRow | None = BenchmarkRow(backend=backend, form=form, batch=batch)
        self._case, self.backend, self._form, self._processes = case, backend, form, processes

    @property
    def ready(self) -> bool:
        """Whether nothing has gone wrong so far."""
        return self.row is not None and self.row.problem is None

    def prepare(self) -> None:
        """Start the process, import the backend, make what is timed."""
        case = self._case
        with self._part():
            require_convolution_dtype(self.backend, case.precision.convolution_dtype)
            process = self._process = self._processes.enter_context(self._started())
            opened = self._opened(process)
            self._know(device=opened["device"], versions=opened["versions"], import_seconds=opened["seconds"])
            if self._form == "training step" and not opened["trains"]:
                self.row = None
                return
            built, _ = process.call(
                f"{TASKS}:build",
                case.weights,
                spec=to_json(case.spec),
                form=self._form,
                size=list(case.size),
                **asdict(case.precision),
                resident=case.resident,
            )
            self._know(build_seconds=built["seconds"], notes=tuple(built["notes"]))

    def prove(self, proof: Proof) -> None:
        """Let it compute for the first time, and see whether it is the same work."""
        if self.ready and self._case.precision.reduced is not None:
            self._pass_gate(len(proof.images))
        if not self.ready:
            return
        with self._part():
            about, found = self._process.call(f"{TASKS}:first", {"images": proof.images})
            self._know(first_seconds=about["seconds"], timed_by=about["timed_by"], tolerance=proof.tolerance)
            self._judge(proof.judge(self.backend, found["output"]))

    def _started(self) -> BackendProcess:
        python = self._case.pythons.get(self.backend)
        return BackendProcess(self.backend, python, device=self._case.device, time_limit=self._case.time_limit)

    def _opened(self, process: BackendProcess) -> dict[str, Any]:
        case = self._case
        opened, _ = process.call(
            f"{TASKS}:open_backend", backend=self.backend, device=case.device, dtype=case.precision.dtype
        )
        return dict(opened)

    def _pass_gate(self, batch: int) -> None:
        """In a process that is not timed: it takes memory, and warms up what a first call has to."""
        case = self._case
        with self._part(), self._started() as process:
            self._opened(process)
            found, _ = process.call(
                f"{TASKS}:gate",
                spec=to_json(case.spec),
                form=self._form,
                size=list(case.size),
                batch=batch,
                **asdict(case.precision),
            )
            self._judge(Verdict(**found))

    def time(self, calls: int) -> tuple[float, ...]:
        """Seconds of each of so many calls; none where something went wrong."""
        if not self.ready:
            return ()
        with self._part():
            taken, _ = self._process.call(f"{TASKS}:timed", calls=calls)
            return tuple(map(float, taken))
        return ()

    def finish(self, proof: Proof, rounds: list[tuple[float, ...]]) -> None:
        """See whether it is still the same work, and only then keep what was timed."""
        if not self.ready:
            return
        with self._part():
            about, found = self._process.call(f"{TASKS}:last")
            verdict = proof.still(self.backend, np.asarray(found["output"]))
            told = about["lie"] if verdict.problem is None else f"after timing, {verdict.problem}"
            assert self.row is not None
            errors = [error for error in (self.row.error, verdict.error) if error is not None]
            self._judge(Verdict(max(errors, default=None), told, verdict.absent))
            if self.ready:
                self._know(rounds=tuple(rounds), peak_memory_bytes=about["memory"])

    def _judge(self, verdict: Verdict) -> None:
        told = None if verdict.problem is None else f"{verdict.problem}; its time is not shown"
        self._know(error=verdict.error, problem=told, bad_input=verdict.absent)

    def _know(self, **fields: object) -> None:
        assert self.row is not None
        self.row = replace(self.row, **fields)  # type: ignore[arg-type]

    @contextmanager
    def _part(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            told = str(error) if isinstance(error, ResNetError) else f"{type(error).__name__}: {error}"
            self._know(
                problem=" ".join(told.split()).removeprefix(f"{self.backend}: "),
                missing=isinstance(error, MissingBackendError),
                bad_input=isinstance(error, InputError),
            )
