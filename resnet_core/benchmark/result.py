"""The result of a benchmark. `Benchmark.to_json` is the JSON of `resnet bench` (keys: docs/bench.md)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import chain
from math import ceil
from statistics import median
from typing import Any

from resnet_core.benchmark.interval import MedianInterval, median_interval
from resnet_core.comparison.wording import scientific
from resnet_core.json_values import finite
from resnet_core.specification import ResNetSpec, to_fields

#: So many calls have one that is slower than 99% of them.
CALLS_FOR_P99 = 100

#: A load above which others were using the machine.
QUIET_LOAD = 0.5


@dataclass(frozen=True, kw_only=True)
class BenchmarkRow:
    """A backend in one form at one batch size, in a process of its own. With a `problem`, nothing of it was timed.

    - `form`: "as built", "fast" or "training step".
    - `error`: max|a - b| / max|b| of the output from the reference, of a training step's loss from that of the first
      backend; `tolerance`: the largest that counts as the same work.
    - `timed_by`: "from array to array", or, with the pictures "on the device", "by its events" or "waiting".
    - `import_seconds`, `build_seconds`, `first_seconds`: the import of the framework, making the model, and the first
      call, which includes tracing and compilation.
    - `rounds`: seconds of each call in each round, after a round that does not count.
    - `ratio`: how many times as fast as the first row of its batch and kind, by the rounds; None of that one itself.
    - `peak_memory_bytes`: of the process, framework included; of the device on a GPU.
    - `problem`: a line; `missing` if the backend is not installed, `bad_input` if it rejected its input.
    """

    backend: str
    form: str
    batch: int
    device: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    error: float | None = None
    tolerance: float = 0.0
    timed_by: str = ""
    import_seconds: float = 0.0
    build_seconds: float = 0.0
    first_seconds: float = 0.0
    rounds: tuple[tuple[float, ...], ...] = ()
    ratio: MedianInterval | None = None
    peak_memory_bytes: int = 0
    notes: tuple[str, ...] = ()
    problem: str | None = None
    missing: bool = False
    bad_input: bool = False

    @property
    def label(self) -> str:
        """The row, in a message."""
        return f"{self.backend}, {self.form}, batch {self.batch}"

    @property
    def medians(self) -> list[float]:
        """The median of each round, in seconds."""
        return [median(calls) for calls in self.rounds]

    @property
    def seconds(self) -> MedianInterval:
        """The median of a call, with its interval, over rounds."""
        return median_interval(self.medians)

    @property
    def p99(self) -> float | None:
        """Seconds within which 99% of the calls ended; None of fewer than 100 calls."""
        calls = sorted(chain.from_iterable(self.rounds))
        return calls[ceil(0.99 * len(calls)) - 1] if len(calls) >= CALLS_FOR_P99 else None

    @property
    def images_per_second(self) -> float:
        """Pictures per second, by the median."""
        return self.batch / self.seconds.median

    def to_json(self) -> dict[str, Any]:
        """One entry of `rows`."""
        about: dict[str, Any] = {"backend": self.backend, "form": self.form, "batch": self.batch}
        about |= {"device": self.device, "versions": dict(self.versions)} if self.device else {}
        about |= {} if self.error is None else {"error": self.error, "tolerance": self.tolerance}
        if self.problem is not None:
            kinds = {"missing": self.missing, "bad_input": self.bad_input}
            return finite({**about, "problem": self.problem, **kinds})
        measured = {
            "timed_by": self.timed_by,
            "seconds": asdict(self.seconds),
            "p99_seconds": self.p99,
            "calls": sum(map(len, self.rounds)),
            "images_per_second": self.images_per_second,
            "ratio": None if self.ratio is None else asdict(self.ratio),
            "import_seconds": self.import_seconds,
            "build_seconds": self.build_seconds,
            "first_seconds": self.first_seconds,
            "peak_memory_bytes": self.peak_memory_bytes,
            "rounds": [list(calls) for calls in self.rounds],
            "notes": list(self.notes),
        }
        return finite({**about, **measured})


@dataclass(frozen=True, kw_only=True, repr=False)
class Benchmark:
    """One network in several backends, timed where the work was the same.

    - `macs`: multiply-accumulates of one picture.
    - `operations_per_second`, `copied_bytes_per_second`: the machine's own limits, by a float32 product of matrices and
      a copy in NumPy, on its CPU; None where something ran on a GPU.
    - `machine`: processor, cores, memory, load at the start.
    """

    spec: ResNetSpec
    input_size: tuple[int, int]
    macs: int
    date: str
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    rows: tuple[BenchmarkRow, ...]
    dtype: str = "float32"
    convolution_dtype: str | None = None
    operations_per_second: float | None = None
    copied_bytes_per_second: float | None = None
    named: bool = False
    """Whether the backends were requested by name; if not, those that are not installed do not count."""
    remarks: tuple[str, ...] = ()

    @property
    def counted(self) -> list[BenchmarkRow]:
        """The rows that count."""
        return [row for row in self.rows if self.named or not row.missing]

    @property
    def timed(self) -> list[BenchmarkRow]:
        """The rows with figures."""
        return [row for row in self.rows if row.problem is None]

    @property
    def equal(self) -> bool:
        """Whether every row that counts did the same work, and was timed."""
        return all(row.problem is None for row in self.counted)

    @property
    def refused(self) -> bool:
        """Whether a backend that counts is missing or rejected its input."""
        return any(row.missing or row.bad_input for row in self.counted)

    def share(self, row: BenchmarkRow) -> float | None:
        """The row's part of the machine's limit by a product of matrices; of a training step, three passes' work."""
        if self.operations_per_second is None:
            return None
        passes = 3 if row.form == "training step" else 1
        return 2 * self.macs * passes * row.images_per_second / self.operations_per_second

    def sentence(self) -> str:
        """The outcome in one sentence."""
        name, wrong = self.spec.name or "the network", len(self.counted) - len(self.timed)
        if not self.equal:
            return f"NOT the same work, or none: {name}: {wrong} of {len(self.counted)} rows were not timed."
        limits = {row.form == "training step": row.tolerance for row in self.timed}
        told = [f"outputs within {scientific(limits[False])} of the numpy float64 reference"] if False in limits else []
        told += [f"a training step's loss within {scientific(limits[True])}"] if True in limits else []
        return f"Equal work: {name}: {'; '.join(told)}, in {self.precision}."

    def notes(self) -> Iterator[str]:
        """One line for each thing worth knowing."""
        if self.operations_per_second is not None and self.copied_bytes_per_second is not None:
            yield (
                f"This machine: {self.operations_per_second / 1e9:,.0f} GFLOP/s in a float32 product of matrices, "
                f"{self.copied_bytes_per_second / 2**30:,.1f} GiB/s copied."
            )
        if "gpu" in self.machine and any(row.device == "gpu" for row in self.timed):
            yield f"The GPU: {self.machine['gpu']}."
        ways = dict.fromkeys(row.timed_by for row in self.timed)
        for way in ways if len(ways) > 1 or any(way.startswith("on the device") for way in ways) else ():
            rows = [row for row in self.timed if row.timed_by == way]
            names = ("training steps" if row.form == "training step" else row.backend for row in rows)
            yield f"Timed {way}: {', '.join(dict.fromkeys(names))}."
        if self.timed and not all(row.seconds.holds for row in self.timed):
            yield "Fewer than six rounds: the intervals are the extremes, and cover less than 95%."
        if self.machine.get("load_before", 0) > QUIET_LOAD:
            yield "Others were using this machine: measure again on a quiet one."
        yield from self.remarks
        yield from dict.fromkeys(f"{row.backend}, {row.form}: {note}" for row in self.rows for note in row.notes)

    def problems(self) -> Iterator[str]:
        """One line for each row that was not timed."""
        for row in self.rows:
            if row.problem is not None:
                yield row.problem if row.missing else f"{row.label}: {row.problem}"

    @property
    def precision(self) -> str:
        """In words."""
        return f"{self.dtype} with {self.convolution_dtype} convolutions" if self.convolution_dtype else self.dtype

    def summary(self) -> str:
        """The sentence, the notes and the problems, line by line."""
        return "\n".join((self.sentence(), *self.notes(), *self.problems()))

    def to_json(self) -> dict[str, Any]:
        """The JSON of `resnet bench`, as plain values."""
        return {
            "spec": to_fields(self.spec),
            "input_size": list(self.input_size),
            "macs": self.macs,
            "date": self.date,
            "machine": dict(self.machine),
            "versions": dict(self.versions),
            "dtype": self.dtype,
            "convolution_dtype": self.convolution_dtype,
            "equal": self.equal,
            "operations_per_second": self.operations_per_second,
            "copied_bytes_per_second": self.copied_bytes_per_second,
            "rows": [{**row.to_json(), **self._share(row)} for row in self.rows],
            "notes": list(self.notes()),
        }

    def _share(self, row: BenchmarkRow) -> dict[str, float | None]:
        return {"share_of_limit": self.share(row)} if row.problem is None else {}

    def __repr__(self) -> str:
        return f"<Benchmark: {self.sentence()}>"
