"""The kit in a third party's own test suite: a test for each check.

In its `pyproject.toml`:

    [tool.pytest.ini_options]
    addopts = ["-p", "resnet_core.conformance.pytest_plugin"]
    resnet_backends = ["mlx"]

Or once, by hand: `pytest -p resnet_core.conformance.pytest_plugin --resnet-backend mlx`. Nothing is loaded into
pytest's own process: the backend runs in workers, which all tests of it share.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest

from resnet_core.conformance.check import CHECKS
from resnet_core.conformance.kit import PLANTED, conformance
from resnet_core.conformance.report import ConformanceReport, Result, folded
from resnet_core.weights import DTYPES


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--resnet-backend`, and `resnet_backends` in the configuration."""
    parser.addoption(
        "--resnet-backend", action="append", default=[], metavar="NAME", help="hold this backend to resnet's contract"
    )
    parser.addini("resnet_backends", "backends that are held to resnet's contract", type="args", default=[])


def pytest_collection_modifyitems(session: pytest.Session, items: list[pytest.Item]) -> None:
    """The checks come after the suite's own tests."""
    chosen = [*session.config.getini("resnet_backends"), *session.config.getoption("--resnet-backend")]
    for backend in dict.fromkeys(chosen):
        collector = Conformance.from_parent(session, name=f"conformance of {backend}", backend=backend)
        items.extend(collector.collect())


class Conformance(pytest.Collector):
    """The checks of one backend."""

    def __init__(self, *, backend: str, **named: object) -> None:
        super().__init__(**named)  # type: ignore[arg-type]
        self.backend = backend

    def collect(self) -> Iterator[pytest.Item]:
        """One item for each check, and one for the planted defects."""
        for name in (*CHECKS, PLANTED):
            yield ConformanceCheck.from_parent(self, name=name)


class ConformanceCheck(pytest.Item):
    """One check in all its cases; skipped where the backend does not offer what it needs."""

    def runtest(self) -> None:
        """The first item runs them all."""
        assert isinstance(self.parent, Conformance)
        assert_held(report(self.parent.backend), self.name)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:
        """The violations, a line for each kind, without a traceback of the kit."""
        return str(excinfo.value)

    def reportinfo(self) -> tuple[str, None, str]:
        """What stands in pytest's report."""
        assert isinstance(self.parent, Conformance)
        return "resnet_core.conformance", None, f"{self.parent.backend}: {self.name}"


@cache
def report(
    backend: str,
    environment: tuple[tuple[str, str], ...] = (),
    groups: tuple[str, ...] = (),
    dtypes: tuple[str, ...] = DTYPES,
) -> ConformanceReport:
    """The report of a backend, in some groups of the kit or in all, made once in a session."""
    return conformance(backend, environment=dict(environment), groups=groups, dtypes=dtypes)


def results_of(found: ConformanceReport, name: str) -> list[Result]:
    """Every case of a check, by its name, or all planted defects."""
    return [result for result in found.results if name in (result.name, result.group)]


def assert_held(found: ConformanceReport, name: str) -> None:
    """Fail with a line for each kind of violation of a check; skip what is not offered at all."""
    results = results_of(found, name) or list(found.violations())
    violations = folded(result for result in results if result.status == "failed")
    if violations:
        pytest.fail("\n".join(violations), pytrace=False)
    if all(result.status == "not offered" for result in results):
        pytest.skip(f"not offered: {results[0].message}")
