"""`resnet conformance`: whether a backend keeps the contract."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from resnet_core.cli.options import MOST_SECONDS, STANDARD_OUTPUT, output_file, print_json
from resnet_core.cli.output import complain, say
from resnet_core.cli.status import QuietFlag, status
from resnet_core.conformance.report import ConformanceReport, folded
from resnet_core.files import write_atomically

STATUSES = ("passed", "failed", "not offered")


def check_conformance(
    backend: Annotated[str, typer.Argument(metavar="BACKEND", help="A registered backend, anyone's or built in.")],
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="F", help="Write JSON to F; - for stdout alone.", callback=output_file),
    ] = None,
    python: Annotated[str | None, typer.Option(metavar="PATH", help="The backend's own interpreter.")] = None,
    groups: Annotated[
        list[str] | None, typer.Option("--group", metavar="GROUP", help="Only these checks; may be repeated.")
    ] = None,
    time_limit: Annotated[
        float, typer.Option(metavar="SECONDS", help="For one check.", min=0.1, max=MOST_SECONDS)
    ] = 60.0,
    quiet: QuietFlag = False,
) -> None:
    """Check that a backend keeps the contract. Every verb and layer, on small networks, with planted defects."""
    from resnet_core.cli import tables
    from resnet_core.conformance.kit import conformance

    show = status(quiet=quiet)
    report = conformance(backend, python=python, groups=groups, time_limit=time_limit, progress=show)
    show("")
    if json_file == STANDARD_OUTPUT:
        print_json(report.to_json())
    else:
        tables.show(report_table(report))
        say(f"\n{report_sentence(report)}")
    if json_file is not None and json_file != STANDARD_OUTPUT:
        write_atomically(json_file, (json.dumps(report.to_json(), indent=1) + "\n").encode())
    for line in folded(report.violations()):
        complain(line)
    raise typer.Exit(0 if report.conforms else 1)


def report_table(report: ConformanceReport) -> Table:
    """A row per group: how many checks passed, failed and were not offered, and the time they took."""
    table = Table(box=None, pad_edge=False)
    table.add_column("checks of")
    for column in (*STATUSES, "seconds"):
        table.add_column(column, justify="right")
    for group in dict.fromkeys(result.group for result in report.results):
        found = [result for result in report.results if result.group == group]
        counts = Counter(result.status for result in found)
        seconds = sum(result.seconds for result in found)
        table.add_row(group, *(str(counts[status] or "–") for status in STATUSES), f"{seconds:.1f}")
    return table


def report_sentence(report: ConformanceReport) -> str:
    """What it comes to, in one sentence."""
    counts = Counter(result.status for result in report.results)
    planted = [result for result in report.results if result.group == "planted defects"]
    caught = sum(result.status == "passed" for result in planted)
    ran = sum(result.status != "not offered" for result in planted)
    defects = f"{caught} planted defects, all caught" if caught == ran else f"{ran - caught} planted defects not caught"
    without = [] if report.exact_float64 else ["no exact float64"]
    without += ["no training"] if any("train_forward" in result.message for result in report.results) else []
    offers = f" It offers {' and '.join(without)}." if without and report.versions else ""
    verdict = "keeps the contract" if report.conforms else f"does not keep the contract: {counts['failed']} failed"
    end = f"; {defects}" if planted else ""
    return f"{report.backend} {verdict}: {len(report.results)} checks in {report.seconds:.0f} s{end}.{offers}".replace(
        "failed: ", "failed of "
    )
