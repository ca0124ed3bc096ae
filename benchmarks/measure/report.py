"""A result as a printed table, as JSON, and as stored files."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from resnet_core.benchmark.machine import core_versions, machine

RESULTS = Path(__file__).parent.parent / "results"
QUIET_LOAD = 0.5


def parse_with_output_options(parser: ArgumentParser) -> Namespace:
    parser.add_argument("--json", metavar="F", type=Path, help="write the result as JSON to this file")
    parser.add_argument("--save", action="store_true", help="keep it, dated, in benchmarks/results")
    options = parser.parse_args()
    if options.quick and options.save:
        parser.error("--quick measures nothing that is worth keeping with --save")
    return options


@dataclass
class Report:
    """A benchmark's result. Create it before measuring, so that the date and the load are those of the start."""

    name: str
    title: str
    columns: tuple[str, ...]
    settings: dict[str, Any]
    timed: bool = True
    rows: list[tuple[str, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failed: bool = False
    results: list[dict[str, Any]] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=core_versions)
    machine: dict[str, Any] = field(default_factory=machine)
    date: str = field(default_factory=lambda: datetime.now(UTC).date().isoformat())

    def add(self, row: tuple[str, ...], result: dict[str, Any]) -> None:
        self.rows.append(row)
        self.results.append(result)

    def succeeded(self, answers: Iterable[tuple[str, dict[str, Any]]]) -> Iterator[tuple[str, dict[str, Any]]]:
        """(framework, answer) of those that succeeded, with versions recorded; a row and `failed` for the others."""
        for framework, answer in answers:
            if "error" in answer:
                self.failed = True
                blank = [""] * (len(self.columns) - 2)
                self.add((framework, *blank, "failed"), {"framework": framework, "verdict": "failed", **answer})
            else:
                self.versions.update(answer.pop("versions"))
                yield framework, answer

    def finish(self, options: Namespace) -> None:
        """Print the table, and write the files that the options ask for."""
        if self.timed and self.machine.get("load_before", 0) > QUIET_LOAD:
            self.notes.append("Others were using this machine: measure again on a quiet one.")
        self._print()
        if options.json:
            options.json.write_text(self._json())
        if options.save:
            RESULTS.mkdir(exist_ok=True)
            (RESULTS / f"{self.date}-{self.name}.json").write_text(self._json())
            (RESULTS / f"{self.date}-{self.name}.md").write_text(self._markdown())

    def _print(self) -> None:
        table = Table(title=self.title, title_justify="left")
        for index, column in enumerate(self.columns):
            table.add_column(column, justify="left" if index == 0 else "right")
        for row in self.rows:
            table.add_row(*row)
        console = Console(width=None if sys.stdout.isatty() else 140)
        console.print(table)
        for line in (*self.notes, *self._circumstances()):
            console.print(line, markup=False, highlight=False)

    def _markdown(self) -> str:
        lines = [f"# {self.title}", ""]
        lines += [f"| {' | '.join(self.columns)} |", "|---" + "|---:" * (len(self.columns) - 1) + "|"]
        lines += [f"| {' | '.join(row)} |" for row in self.rows]
        lines += ["", *(f"- {line}" for line in (*self.notes, *self._circumstances())), ""]
        return "\n".join(lines)

    def _json(self) -> str:
        keys = ("name", "date", "settings", "machine", "versions", "results", "notes")
        return json.dumps({key: getattr(self, key) for key in keys}, indent=2) + "\n"

    def _circumstances(self) -> list[str]:
        return [
            f"Date: {self.date}",
            f"Machine: {_listed(self.machine)}",
            f"Versions: {_listed(self.versions)}",
            f"Settings: {_listed(self.settings)}",
        ]


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.1f} ms" if seconds < 1 else f"{seconds:,.2f} s"


def _listed(facts: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items())
