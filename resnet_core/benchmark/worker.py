"""The part of `resnet bench` that runs in a contestant's process: made ready, asked for its output, timed call by call.

Every call gets pictures of its own, made before its time begins: what was kept of an earlier one is of no use.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from resnet_core.architecture import layer_tree
from resnet_core.backend import optional
from resnet_core.benchmark.gate import asked
from resnet_core.benchmark.precision import Precision
from resnet_core.benchmark.steps import Steps
from resnet_core.benchmark.timing import DeviceTime, device_seconds, not_waited, seconds
from resnet_core.inference import fast_form
from resnet_core.precision import ConvolutionDtype
from resnet_core.spec_files import from_json
from resnet_core.specification import ResNetSpec
from resnet_core.weights import TF32, Weights
from resnet_core.workers import tasks
from resnet_core.workers.child import Arrays, Session
from resnet_core.workers.memory import peak_resident_memory

Answer = tuple[Any, Arrays | None]

#: How a contestant computes: what `build` returns, what `predict` uses for many pictures, a `Trainer`'s step.
AS_BUILT, FAST, STEP = "as built", "fast", "training step"

#: By what a call is timed: from an array to an array; with the pictures on the device, by the device's own clock, or
#: by the process', which waits.
ARRAYS, EVENTS, WAITING = "from array to array", "on the device, by its events", "on the device, waiting"

#: More pictures than anyone has: whatever repays at some number of them is done.
MANY = 10**12

#: Sides of the matrices and bytes of the array by which a machine's own limits are measured, and the calls of each.
SIDE, COPIED, CALLS = 1536, 2**27, 5


class Subject:
    """What is timed, with its pictures and the number of calls so far."""

    timed_by = ARRAYS

    def __init__(self, ready: Callable[[np.ndarray], Callable[[], Any]]) -> None:
        self.ready = ready
        self.images = np.zeros(0)
        self.calls = 0
        self.output = np.zeros(0)

    def call(self, images: np.ndarray) -> float:
        """Seconds from the pictures, as an array, to the output, as one: only then has everything been computed."""
        compute = self.ready(images)
        return seconds(lambda: setattr(self, "output", np.asarray(compute())))

    def next_call(self) -> float:
        """Seconds for pictures that no call had before."""
        self.calls += 1
        return self.call(np.roll(self.images, self.calls))

    def lie(self) -> str | None:
        """In words, what is wrong with these seconds, if anything is."""
        return None


class ResidentSubject(Subject):
    """The same for pictures that the device has before the time begins; what is fetched afterwards is not in it."""

    def __init__(self, backend: Any, model: Any) -> None:
        super().__init__(lambda images: lambda: None)
        self.resident, self.model = optional(backend, "resident"), model
        self.times: list[DeviceTime] = []

    def call(self, images: np.ndarray) -> float:
        """Seconds of the device."""
        with self.resident(self.model, images) as run:
            self.timed_by = WAITING if run.event is None else EVENTS
            taken, output = device_seconds(run)
        self.output = np.asarray(output)
        self.times.append(taken)
        return taken.computed

    def lie(self) -> str | None:
        """Whether outputs were not there yet; the first call, which compiles, tells nothing of that."""
        return not_waited(self.times[1:])


def open_backend(session: Session, arrays: Arrays, *, backend: str, device: str, dtype: str) -> Answer:
    """Import the backend and set it up, for half precision as for float32.

    Answers what `tasks.open_backend` does, and how long it took.
    """
    start = time.perf_counter()
    opened, _ = tasks.open_backend(
        session, arrays, backend=backend, device=device, dtype=dtype if dtype == TF32 else "float32"
    )
    trains = callable(getattr(session.backend, "Trainer", None))
    return {**opened, "seconds": time.perf_counter() - start, "trains": trains}, None


def build(
    session: Session,
    arrays: Arrays,
    *,
    spec: str,
    form: str,
    size: list[int],
    dtype: str,
    convolution_dtype: ConvolutionDtype | None,
    resident: bool,
) -> Answer:
    """Make the model or the trainer from neutral weights. Answers how long it took, and what the backend warns of.

    `resident`: predictions are of pictures that the device has; a step begins with arrays as always.
    """
    network, make, backend = from_json(spec), {AS_BUILT: _as_built, FAST: _fast, STEP: _step}[form], session.backend
    stored = Precision("float32" if dtype == TF32 else dtype, convolution_dtype)
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        made = make(backend, network, arrays, (size[0], size[1]), stored)
        session.model = made if isinstance(made, Subject) else _predicting(backend, made, resident)
    told = [" ".join(str(warning.message).split()) for warning in said if warning.category is UserWarning]
    return {"seconds": time.perf_counter() - start, "notes": list(dict.fromkeys(told))}, None


def gate(
    session: Session,
    arrays: Arrays,
    *,
    spec: str,
    form: str,
    size: list[int],
    batch: int,
    dtype: str,
    convolution_dtype: ConvolutionDtype | None,
) -> Answer:
    """The fields of a `Verdict` on this precision, in this backend."""
    how: dict[str, Any] = {"batch": batch, "fast": form == FAST, "training": form == STEP}
    precision = Precision(dtype, convolution_dtype)
    return asdict(asked(session.backend, from_json(spec), (size[0], size[1]), precision, **how)), None


def first(session: Session, arrays: Arrays) -> Answer:
    """Of the first call with these pictures the seconds, and the output; of a training step the losses of two."""
    subject = session.model
    subject.images = arrays["images"]
    taken, output = subject.call(subject.images.copy()), subject.output
    if output.ndim == 0:
        subject.call(subject.images.copy())
        output = np.array([output, subject.output])
    return {"seconds": taken, "timed_by": subject.timed_by}, {"output": output}


def timed(session: Session, arrays: Arrays, *, calls: int) -> Answer:
    """Seconds of each of so many calls."""
    return [session.model.next_call() for _ in range(calls)], None


def last(session: Session, arrays: Arrays) -> Answer:
    """The output for the first pictures again, after all that was timed, the peak memory in bytes, and any lie."""
    session.model.call(session.model.images.copy())
    memory = session.backend.peak_device_memory() or peak_resident_memory()
    return {"memory": memory, "lie": session.model.lie()}, {"output": session.model.output}


def limits(session: Session, arrays: Arrays) -> Answer:
    """What this machine does at best: float32 operations per second in a product of matrices, bytes copied a second."""
    random = np.random.default_rng(0)
    left, right = (random.standard_normal((SIDE, SIDE), dtype=np.float32) for _ in range(2))
    source = np.ones(COPIED, np.uint8)
    target = np.empty_like(source)
    product = min(seconds(lambda: left @ right) for _ in range(CALLS))
    copy = min(seconds(lambda: np.copyto(target, source)) for _ in range(CALLS))
    return {"operations_per_second": 2 * SIDE**3 / product, "copied_bytes_per_second": COPIED / copy}, None


def _as_built(backend: Any, spec: ResNetSpec, weights: Weights, size: tuple[int, int], precision: Precision) -> Any:
    if precision.convolution_dtype is None:
        return backend.build(spec, weights=weights, dtype=precision.dtype)
    return precision.model(backend, layer_tree(spec), spec.in_channels, weights)


def _fast(backend: Any, spec: ResNetSpec, weights: Weights, size: tuple[int, int], precision: Precision) -> Any:
    model = _as_built(backend, spec, weights, size, precision)
    return fast_form(backend, model, spec, pictures=MANY, size=size)


def _predicting(backend: Any, model: Any, resident: bool) -> Subject:
    if resident:
        return ResidentSubject(backend, model)
    return Subject(lambda images: lambda: backend.predict(model, images))


def _step(backend: Any, spec: ResNetSpec, weights: Weights, size: tuple[int, int], precision: Precision) -> Subject:
    return Subject(Steps(backend, spec, weights, precision).ready)
