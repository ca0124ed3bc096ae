"""What the kit found: a result for every case of every check."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Result:
    """What one check of one case found: status "passed", "failed" or "not offered", and why in one line."""

    group: str
    name: str
    case: str
    dtype: str
    status: str = "passed"
    message: str = ""
    seconds: float = 0.0

    def line(self) -> str:
        """The violation, for a person."""
        return f"{self.where()}: {self.message}"

    def where(self) -> str:
        """The check, its case and its dtype."""
        return f"{self.group}: {self.name} [{', '.join(part for part in (self.case, self.dtype) if part)}]"


def folded(results: Iterable[Result]) -> list[str]:
    """A line for each message, in the order of the first check that gave it: what crashes, crashes everywhere."""
    of_message: dict[str, list[Result]] = {}
    for result in results:
        of_message.setdefault(result.message, []).append(result)
    return [
        first.line() if not more else f"{message}, in {1 + len(more)} checks; first: {first.where()}"
        for message, (first, *more) in of_message.items()
    ]


@dataclass(frozen=True, slots=True)
class ConformanceReport:
    """Everything that was checked of a backend. It conforms where nothing failed, planted defects included."""

    backend: str
    versions: Mapping[str, str]
    exact_float64: bool
    results: tuple[Result, ...]
    seconds: float

    @property
    def conforms(self) -> bool:
        """Whether nothing failed."""
        return not self.violations()

    def violations(self) -> list[Result]:
        """What failed."""
        return [result for result in self.results if result.status == "failed"]

    def of(self, name: str) -> list[Result]:
        """Every case of one check, by its name."""
        return [result for result in self.results if result.name == name]

    def to_json(self) -> dict[str, Any]:
        """Plain values: `conforms`, and each result with its fields."""
        return {
            "backend": self.backend,
            "conforms": self.conforms,
            "versions": dict(self.versions),
            "exact_float64": self.exact_float64,
            "seconds": self.seconds,
            "results": [asdict(result) for result in self.results],
        }
