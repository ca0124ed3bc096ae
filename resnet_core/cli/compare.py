"""`resnet compare`: the main job, every backend against the truth."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from resnet_core import spec_files
from resnet_core.cli.options import (
    STANDARD_OUTPUT,
    DeviceOption,
    PythonOption,
    SetOption,
    TimeLimitOption,
    brings_weights,
    output_file,
    parse_pythons,
    print_json,
    resolve_spec,
)
from resnet_core.cli.output import complain, say
from resnet_core.cli.status import QuietFlag, status
from resnet_core.errors import InputError
from resnet_core.files import write_atomically
from resnet_core.workers import TIME_LIMIT

if TYPE_CHECKING:
    from resnet_core.comparison.result import Comparison


def compare_backends(
    spec: Annotated[
        str | None,
        typer.Argument(
            metavar="SPEC", help="A name from `resnet list`, or a file; by default the shipped trained network."
        ),
    ] = None,
    backends: Annotated[str | None, typer.Option(metavar="A,B", help="By default all installed ones.")] = None,
    device: DeviceOption = "auto",
    level: Annotated[str, typer.Option(metavar="L", help="shapes, logits, gradients or training.")] = "logits",
    dtype: Annotated[
        str | None,
        typer.Option(metavar="TYPE", help="float32 or float64; by default what the level asks for."),
    ] = None,
    weights: Annotated[Path | None, typer.Option(metavar="F", help="Weights to use; by default random.")] = None,
    python: PythonOption = None,
    time_limit: TimeLimitOption = TIME_LIMIT,
    overrides: SetOption = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="F", help="Draw errors, times and memory, to F.svg or F.png.", callback=output_file),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="F", help="Write it all as one page, F.html.", callback=output_file),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="F", help="Write JSON to F; with -, print only JSON.", callback=output_file),
    ] = None,
    quiet: QuietFlag = False,
) -> None:
    """Check that all backends compute the same, on real images. Each builds the network and runs it."""
    from resnet_core.benchmark.machine import core_versions, machine
    from resnet_core.comparison.compare import compare
    from resnet_core.comparison.page import page
    from resnet_core.comparison.picture import draw_comparison, require_drawable
    from resnet_core.prediction.network import trained_network

    if plot is not None:
        require_drawable(plot)
    if report is not None:
        if report.suffix.lower() not in (".html", ".htm"):
            raise InputError(f"--report: received {report.name!r}; expected a file that ends in .html")
        require_drawable(Path("comparison.svg"))  # which is in the page
    if spec is None and (weights is not None or overrides):
        raise InputError("compare: received --weights or --set without a SPEC; name the network they are for")
    show = status(quiet=quiet)
    network, arrays, preparation = None, None, None
    if spec is not None:
        if weights is None and not brings_weights(spec):
            network = resolve_spec(spec, overrides)
        else:
            found = trained_network(spec, weights)
            network = spec_files.spec(found.spec, **spec_files.parse_overrides(overrides or []))
            arrays, preparation = found.weights, found.preparation
    made: dict[str, Any] = {"date": datetime.now(UTC).date().isoformat(), "machine": machine()}
    comparison = compare(
        network,
        None if backends is None else [name.strip() for name in backends.split(",") if name.strip()],
        device=device,
        level=level,
        dtype=dtype,
        weights=arrays,
        preparation=preparation,
        pythons=parse_pythons(python or []),
        time_limit=time_limit,
        progress=show,
    )
    show("")
    _report(comparison, json_file, made)
    if plot is not None and any(result.error is None for result in comparison.backends.values()):
        draw_comparison(comparison, plot)
    if report is not None:
        text = page(comparison, made["date"], made["machine"], core_versions())
        write_atomically(report, text.encode())
    raise typer.Exit(2 if comparison.refused else 0 if comparison.equal else 1)


def _report(comparison: Comparison, json_file: Path | None, made: dict[str, Any]) -> None:
    """Print a table and a sentence, or JSON, to standard output, and problems to standard error.

    The JSON also has when and on what it was `made`.
    """
    from resnet_core.cli import tables

    dated = {**comparison.to_json(), "made": made}
    if json_file == STANDARD_OUTPUT:
        print_json(dated)
    elif not all(result.bad_input or result.missing for result in comparison.backends.values()):
        tables.show(tables.comparison_table(comparison))
        say()
        tables.show(tables.verdict(comparison.sentence()))
        for note in comparison.notes():
            tables.show(note)
    if json_file is not None and json_file != STANDARD_OUTPUT:
        write_atomically(json_file, (json.dumps(dated, indent=1) + "\n").encode())
    for line in comparison.problems():
        complain(line)
