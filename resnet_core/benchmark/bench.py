"""Timing a network in every backend: equal work is proven first, and then all take turns.

Every backend in every form has a process of its own for every batch size, so that imports, first calls and peaks of
memory are its own. Those of one batch size are alive together and wait while another computes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from resnet_core.analysis import totals
from resnet_core.backend import DEVICES
from resnet_core.benchmark.contestant import TASKS, Case, Contestant, Proof
from resnet_core.benchmark.interval import median_interval
from resnet_core.benchmark.machine import core_versions, machine
from resnet_core.benchmark.precision import Precision
from resnet_core.benchmark.proof import OutputProof, StepProof, draw_images, reference_output
from resnet_core.benchmark.result import Benchmark, BenchmarkRow
from resnet_core.benchmark.timing import in_turn
from resnet_core.benchmark.worker import AS_BUILT, FAST, STEP
from resnet_core.comparison.compare import chosen_backends
from resnet_core.engines import on_device
from resnet_core.errors import InputError, MissingBackendError, require_choice
from resnet_core.initialization import probe_weights
from resnet_core.precision import CONVOLUTION_DTYPES, ConvolutionDtype
from resnet_core.spec_files import Source
from resnet_core.spec_files import spec as read_spec
from resnet_core.training.recipe import check_trainable
from resnet_core.weights import HALF, TF32, require_training_dtype
from resnet_core.workers import TIME_LIMIT
from resnet_core.workers.parent import Worker

#: Rounds in which all take turns, after one that does not count; the interval of a median needs six.
ROUNDS = 12

#: Calls in a round at batch 1, where the slowest of a hundred is asked for.
CALLS_AT_ONE = 10

#: What can be timed: float64 is for proofs.
PRECISIONS = ("float32", TF32, *HALF)


def bench(
    spec: Source,
    backends: Sequence[str] | str | None = None,
    *,
    batch: int | Sequence[int] = (1, 16),
    training: bool = False,
    input_size: tuple[int, int] | None = None,
    device: str = "auto",
    dtype: str = "float32",
    convolution_dtype: ConvolutionDtype | None = None,
    resident: bool = False,
    rounds: int = ROUNDS,
    pythons: Mapping[str, str] | None = None,
    time_limit: float = TIME_LIMIT,
    progress: Callable[[str], None] = lambda message: None,
) -> Benchmark:
    """Time a network in several backends, each in its own process, after a proof that all do the same work.

    - `spec`: a ResNetSpec, a name or a file.
    - `backends`: their names; by default all that are registered, but for those that want to be named (`ON_REQUEST`),
      and those not installed do not count.
    - `batch`: pictures in a batch, one number or several. At 1, the 99th percentile is measured too.
    - `training`: also a training step, with SGD and momentum; backends that do not train are left out of it.
    - `input_size`: (height, width) of the pictures; by default the spec's.
    - `device`: "auto", "cpu" or "gpu".
    - `dtype`: "float32"; for inference "tf32" on a GPU that has it, "bfloat16" or "float16" in backends that offer it.
    - `convolution_dtype`: "bfloat16", in which the convolutions of float32 networks compute, also of training steps, in
      backends that offer it.
    - `resident`: predictions are timed with the pictures on the device, and their output left there.
    - `rounds`: in which all take turns.
    - `pythons`: {backend: path of its own Python interpreter}.
    - `time_limit`: seconds for one request to one backend.
    - `progress`: called with a message before each part.

    Each backend is timed as `build` returns it and in the form in which `predict` uses it for many pictures (`fast`).
    Whose output differs from the NumPy float64 reference by more than the tolerance of `dtype`, before or after it was
    timed, or whose training step is another, is in the result with its `problem` and has no times. Raises InputError
    for bad arguments, MissingBackendError if no backend is installed at all, WorkerError if the reference itself fails.
    """
    names = chosen_backends(backends)
    require_choice("device", device, DEVICES)
    for name in pythons or {}:
        if name not in names:
            raise InputError(f"pythons: received one for {name!r}; the timed backends are {', '.join(names)}")
    batches = sorted({batch} if isinstance(batch, int) else set(batch))
    if not batches or batches[0] < 1:
        raise InputError(f"batch: received {batch}; expected numbers of pictures from 1")
    if rounds < 1:
        raise InputError(f"rounds: received {rounds}; expected an integer from 1")
    require_choice("dtype", dtype, PRECISIONS)
    on_device(device, dtype)
    if convolution_dtype is not None:
        require_choice("convolution_dtype", convolution_dtype, CONVOLUTION_DTYPES)
        if dtype != "float32":
            raise InputError(
                f"convolution_dtype: received {convolution_dtype!r} with dtype {dtype!r}; it is for networks of float32"
            )
    network = read_spec(spec)
    if training:
        if dtype == TF32:
            raise InputError("dtype: received 'tf32' with training steps; expected float32, or predictions alone")
        require_training_dtype(dtype)
        check_trainable(network)
    size = network.input_size if input_size is None else input_size
    macs = totals(network, size).macs
    date, facts = datetime.now(UTC).date().isoformat(), machine()
    precision = Precision(dtype, convolution_dtype)
    case = Case(network, probe_weights(network), size, device, precision, resident, rounds, pythons or {}, time_limit)
    rows, remarks = _rows(case, names, batches, training, progress)
    if backends is None and all(row.missing for row in rows):
        raise MissingBackendError(f"no backend is installed, so there is nothing to time: {rows[0].problem}")
    ran = [row for row in rows if row.device]
    limits = _limits(progress) if ran and all(row.device == "cpu" for row in ran) else {}
    return Benchmark(
        spec=network,
        input_size=size,
        dtype=dtype,
        convolution_dtype=convolution_dtype,
        macs=macs,
        date=date,
        machine=facts,
        versions={**core_versions(), **{name: version for row in ran for name, version in row.versions.items()}},
        rows=tuple(rows),
        named=backends is not None,
        remarks=tuple(remarks),
        **limits,
    )


def _rows(
    case: Case, names: Sequence[str], batches: Sequence[int], training: bool, progress: Callable[[str], None]
) -> tuple[list[BenchmarkRow], list[str]]:
    """The rows of every batch size, and what is to be said of those that have none."""
    rows: list[BenchmarkRow] = []
    untrained: list[str] = []
    missing: set[str] = set()
    for batch in batches:
        images = draw_images(case.spec, case.size, batch)
        progress("the reference in float64")
        expected = reference_output(case.spec, case.weights, images[sorted({0, batch - 1})], case.time_limit)
        kinds: list[tuple[tuple[str, ...], Proof]] = [((AS_BUILT, FAST), OutputProof(images, expected, case.precision))]
        kinds += [((STEP,), StepProof(images, case.precision))] if training else []
        for forms, proof in kinds:
            there = [name for name in names if name not in missing]
            found = _timed(case, there, forms, proof, progress)
            untrained += [name for name, row in found if row is None]
            rows += [row for _, row in found if row is not None]
            missing |= {row.backend for row in rows if _never(row)}
    return rows, [f"{name} does not train." for name in dict.fromkeys(untrained)]


def _timed(
    case: Case, names: Sequence[str], forms: Sequence[str], proof: Proof, progress: Callable[[str], None]
) -> list[tuple[str, BenchmarkRow | None]]:
    """(backend, row) of every contestant of one kind at one batch size."""
    batch = len(proof.images)
    with ExitStack() as processes:
        contestants: list[Contestant] = []
        for name in names:
            for form in forms:
                progress(f"{name}, {form}, batch {batch}: import, build, first call")
                contestant = Contestant(case, name, form, batch, processes)
                contestant.prepare()
                contestant.prove(proof)
                contestants.append(contestant)
                if contestant.row is not None and _never(contestant.row):
                    break
        progress(f"batch {batch}: all in turn")
        timers = [partial(contestant.time, CALLS_AT_ONE if batch == 1 else 1) for contestant in contestants]
        in_turn(timers, 1)
        for contestant, rounds in zip(contestants, in_turn(timers, case.rounds), strict=True):
            contestant.finish(proof, rounds)
    rows = with_ratios([contestant.row for contestant in contestants])
    return [(contestant.backend, row) for contestant, row in zip(contestants, rows, strict=True)]


def _never(row: BenchmarkRow) -> bool:
    """Whether its backend cannot be set up as asked, in any form."""
    return row.missing or (row.bad_input and row.device is None)


def with_ratios(rows: list[BenchmarkRow | None]) -> list[BenchmarkRow | None]:
    """Each with its speed as a multiple of the first's, round by round."""
    first = next((row for row in rows if row is not None and row.problem is None), None)
    if first is None:
        return rows
    return [
        row
        if row is None or row.problem is not None or row is first
        else replace(
            row, ratio=median_interval([one / own for one, own in zip(first.medians, row.medians, strict=True)])
        )
        for row in rows
    ]


def _limits(progress: Callable[[str], None]) -> dict[str, float]:
    progress("the machine's own limits")
    with Worker() as worker:
        found, _ = worker.call(f"{TASKS}:limits")
    return dict(found)
