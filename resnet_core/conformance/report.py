"""What the kit found: a result for every case of every check."""

from __future__ import annotations

from collections.abc import Mapping
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
        where = f" [{', '.join(part for part in (self.case, self.dtype) if part)}]"
        return f"{self.group}: {self.name}{where}: {self.message}"


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
