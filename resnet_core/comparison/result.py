"""The result of a comparison. `Comparison.to_json` is the JSON of `resnet compare` (keys: docs/compare.md)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from resnet_core.comparison.wording import join, scientific
from resnet_core.json_values import finite
from resnet_core.specification import ResNetSpec, to_fields
from resnet_core.workers.answers import Seconds

#: What is compared at each level, and which part of it a narrow network decides in float32.
_WORDS = {
    "shapes": ("names, shapes and counts", ""),
    "logits": ("logits and every tap", ""),
    "gradients": ("logits, every tap and every gradient", "the gradients"),
    "training": ("logits, taps, gradients and two training steps", "gradients and training steps"),
}

_NO_TIME = Seconds(0.0, 0.0, 0)


@dataclass(frozen=True, kw_only=True)
class BackendResult:
    """The result of one backend. If `error` is set, only `missing`, `bad_input`, device, dtype and versions are known.

    - `device`, `dtype`, `versions`: what it ran on and in.
    - `max_error`: {tap or quantity: max|a - b| / max|b|, where b is the reference}.
    - `tolerances`: {key of `max_error`: largest error that counts as equal}, for the keys that decide. A key that is
      only informative (`gradients` at full width in float32) has none.
    - `shape_errors`: lines about names, shapes and values that cannot be compared.
    - `accuracy`: fraction of the pictures that it classifies correctly, if they have labels.
    - `error`: one line; `missing` if the backend is not installed, `bad_input` if it rejected its input.
    """

    device: str | None = None
    dtype: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    tolerance: float = 0.0
    parameters: int = 0
    state: int = 0
    seconds: Seconds = _NO_TIME
    peak_memory_bytes: int = 0
    output_shape: tuple[int, ...] = ()
    accuracy: float | None = None
    max_error: Mapping[str, float] = field(default_factory=dict)
    tolerances: Mapping[str, float] = field(default_factory=dict)
    shape_errors: tuple[str, ...] = ()
    error: str | None = None
    missing: bool = False
    bad_input: bool = False

    @property
    def equal(self) -> bool:
        """Whether everything that decides is within its tolerance."""
        within = all(self.max_error[key] <= limit for key, limit in self.tolerances.items())
        return self.error is None and not self.shape_errors and within

    def to_json(self) -> dict[str, Any]:
        """One entry of `backends`."""
        ran_on = {"device": self.device, "versions": dict(self.versions), "dtype": self.dtype} if self.device else {}
        if self.missing:
            return {**ran_on, "error": self.error, "missing": True}
        if self.error is not None:
            return {**ran_on, "error": self.error, "bad_input": self.bad_input}
        entry = {
            **ran_on,
            "tolerance": self.tolerance,
            "parameters": self.parameters,
            "state": self.state,
            "seconds": asdict(self.seconds),
            "peak_memory_bytes": self.peak_memory_bytes,
            "output_shape": list(self.output_shape),
            **({} if self.accuracy is None else {"accuracy": self.accuracy}),
            "max_error": dict(self.max_error),
            "tolerances": dict(self.tolerances),
            "shape_errors": list(self.shape_errors),
            "equal": self.equal,
        }
        return finite(entry)


@dataclass(frozen=True, kw_only=True, repr=False)
class Comparison:
    """One network in several backends, each compared with the reference.

    `backends` is {name: result}, without the reference; `dtype` is the requested one, and a backend without exact
    float64 may have used another. `batch` is the number of images.
    """

    spec: ResNetSpec
    level: str
    dtype: str
    asked_device: str
    reference: str
    batch: int
    backends: Mapping[str, BackendResult]
    named: bool = False
    """Whether the backends were requested by name; if not, those that are not installed do not count."""
    amplified: tuple[str, float] | None = None
    """A tap, and how many times as large a small change is there, if outputs may differ by rounding alone."""

    @property
    def compared(self) -> dict[str, BackendResult]:
        """The results that count."""
        return {name: result for name, result in self.backends.items() if self.named or not result.missing}

    @property
    def equal(self) -> bool:
        """Whether every backend that counts is equal to the reference."""
        return all(result.equal for result in self.compared.values())

    @property
    def refused(self) -> bool:
        """Whether a backend that counts is missing or rejected its input."""
        return any(result.missing or result.bad_input for result in self.compared.values())

    @property
    def device(self) -> str:
        """The device on which all of them ran, "mixed", or the requested one if none ran."""
        devices = {result.device for result in self.compared.values() if result.device}
        return devices.pop() if len(devices) == 1 else "mixed" if devices else self.asked_device

    def to_json(self) -> dict[str, Any]:
        """The JSON of `resnet compare`, as plain values. An error that is not finite is None."""
        return {
            "spec": to_fields(self.spec),
            "equal": self.equal,
            "level": self.level,
            "dtype": self.dtype,
            "device": self.device,
            "reference": self.reference,
            "batch": self.batch,
            "backends": {name: result.to_json() for name, result in self.backends.items()},
        }

    def sentence(self) -> str:
        """The outcome in one sentence."""
        name = self.spec.name or "the network"
        results = self.backends
        present = {backend: result for backend, result in results.items() if not result.missing}
        if not self.equal:
            unequal = [backend for backend, result in present.items() if result.error is None and not result.equal]
            failed = [backend for backend, result in present.items() if result.error is not None]
            missing = [backend for backend, result in results.items() if result.missing]
            parts = [f"{join(unequal)} differ{'s' if len(unequal) == 1 else ''} from the reference"] if unequal else []
            parts += [f"{join(failed)} gave no result"] if failed else []
            parts += [f"{join(missing)} {'is' if len(missing) == 1 else 'are'} not installed"] if missing else []
            if not unequal and not failed:  # what could be compared is equal, which says nothing of the rest
                parts = [f"{join(list(present))} equal to the reference", *parts] if present else parts
                return f"Not compared in all: {name}: {'; '.join(parts)}."
            return f"NOT equal: {name}: {'; '.join(parts)}."
        what, narrow = _WORDS[self.level]
        if self.level == "shapes":
            return f"Equal: {name} in {join(list(present))} has {what} equal to what the spec says."
        exact = {backend: result for backend, result in present.items() if result.dtype == self.dtype}
        inexact = {backend: result for backend, result in present.items() if backend not in exact}
        parts = [f" within {_limit(exact)} in {self.dtype}"] if exact else []
        parts += [
            f" {backend if exact else ''} within {_limit({backend: result})} in {result.dtype}, "
            "since it has no exact float64".replace("  ", " ")
            for backend, result in inexact.items()
        ]
        narrowed = [backend for backend, result in present.items() if narrow and result.dtype == "float32"]
        if narrowed:
            whose = "" if len(narrowed) == len(present) else f" of {join(narrowed)}"
            parts.append(f" {narrow}{whose} in a narrow network of the same kind")
        ending = ";".join(parts)
        return f"Equal: {name} in {join(list(present))} has {what} equal to the {self.reference} reference{ending}."

    def notes(self) -> Iterator[str]:
        """One line for each thing worth knowing that does not decide the outcome."""
        if self.amplified is not None:
            tap, times = self.amplified
            yield (
                f"a small change of the images is {times:.0f} times as large at {tap} of this network, and so is what "
                "float32 rounds: compare it in float64, which tells that from a mistake"
            )
        for name, result in self.backends.items():
            error = result.max_error.get("gradients", 0.0)
            limit = result.tolerances.get("gradients_narrow")
            narrow = result.max_error.get("gradients_narrow", 0.0)
            if limit is not None and narrow <= limit and not error <= limit:
                yield (
                    f"{name}: gradients in float32 are too noisy to judge at this width (error {scientific(error)}); "
                    f"in the narrow network the error is {scientific(narrow)}"
                )

    def problems(self) -> Iterator[str]:
        """One line for each thing that went wrong."""
        for name, result in self.backends.items():
            if result.error is not None:
                yield result.error
                continue
            yield from (f"{name}: {line}" for line in result.shape_errors)
            for key, limit in result.tolerances.items():
                if not (error := result.max_error[key]) <= limit:
                    what = key.replace("_narrow", " of the narrow network")
                    yield f"{name}: {what} differs by {scientific(error)}; allowed is {scientific(limit)}"

    def summary(self) -> str:
        """The sentence, the notes and the problems, line by line."""
        return "\n".join((self.sentence(), *self.notes(), *self.problems()))

    def __repr__(self) -> str:
        return f"<Comparison: {self.sentence()}>"


def _limit(results: dict[str, BackendResult]) -> str:
    return scientific(max(bound for result in results.values() for bound in result.tolerances.values()))
