"""`resnet bench`: how fast a network is in every backend, after a proof that all do the same work."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from resnet_core.cli.options import (
    STANDARD_OUTPUT,
    DeviceOption,
    PythonOption,
    SetOption,
    SpecArgument,
    TimeLimitOption,
    output_file,
    parse_pythons,
    parse_size,
    print_json,
    resolve_spec,
)
from resnet_core.cli.output import complain, say
from resnet_core.cli.status import QuietFlag, status
from resnet_core.errors import InputError
from resnet_core.files import write_atomically
from resnet_core.workers import TIME_LIMIT

if TYPE_CHECKING:
    from resnet_core.benchmark.result import Benchmark, BenchmarkRow


def time_backends(
    spec: SpecArgument,
    backends: Annotated[str | None, typer.Option(metavar="A,B", help="By default all installed ones.")] = None,
    batch: Annotated[str, typer.Option(metavar="N,M", help="Pictures in a batch; at 1, the 99th percentile too.")] = (
        "1,16"
    ),
    training: Annotated[bool, typer.Option("--training", help="Also a training step.")] = False,
    input_size: Annotated[
        str | None, typer.Option(metavar="N or HxW", help="Size of the pictures; by default the spec's.")
    ] = None,
    device: DeviceOption = "auto",
    dtype: Annotated[
        str, typer.Option(metavar="TYPE", help="float32; tf32, bfloat16 or float16 for inference.")
    ] = "float32",
    convolution_dtype: Annotated[
        str | None,
        typer.Option(metavar="TYPE", help="bfloat16: convolutions of float32 networks compute in it, training too."),
    ] = None,
    resident: Annotated[
        bool, typer.Option("--resident", help="Leave the pictures' way to the device out of the time.")
    ] = False,
    rounds: Annotated[
        int | None, typer.Option(metavar="N", help="Rounds in which all take turns; by default 12.", min=1)
    ] = None,
    python: PythonOption = None,
    time_limit: TimeLimitOption = TIME_LIMIT,
    overrides: SetOption = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="F", help="Draw pictures per second, to F.svg or F.png.", callback=output_file),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="F", help="Write JSON to F; with -, print only JSON.", callback=output_file),
    ] = None,
    quiet: QuietFlag = False,
) -> None:
    """Time a network in every backend, as built and fastest. First, all are proven to do the same work."""
    from resnet_core.benchmark.bench import ROUNDS, bench
    from resnet_core.benchmark.picture import draw_benchmark, require_drawable

    if plot is not None:
        require_drawable(plot)
    show = status(quiet=quiet)
    result = bench(
        resolve_spec(spec, overrides),
        None if backends is None else [name.strip() for name in backends.split(",") if name.strip()],
        batch=_batches(batch),
        training=training,
        input_size=None if input_size is None else parse_size(input_size, "--input-size"),
        device=device,
        dtype=dtype,
        convolution_dtype=convolution_dtype,  # type: ignore[arg-type]  # bench says what is none
        resident=resident,
        rounds=ROUNDS if rounds is None else rounds,
        pythons=parse_pythons(python or []),
        time_limit=time_limit,
        progress=show,
    )
    show("")
    _report(result, json_file, quiet=quiet)
    if plot is not None and result.timed:
        draw_benchmark(result, plot)
    raise typer.Exit(2 if result.refused else 0 if result.equal else 1)


def _batches(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdecimal() and 0 < int(part) < 10**6 for part in parts):
        raise InputError(f"--batch: received {text!r}; expected numbers of pictures such as 1,16")
    return [int(part) for part in parts]


def _report(result: Benchmark, json_file: Path | None, *, quiet: bool) -> None:
    """A table and a sentence, or JSON, on standard output, and problems on standard error."""
    from resnet_core.cli import tables

    if json_file == STANDARD_OUTPUT:
        print_json(result.to_json())
    elif not all(row.missing or row.bad_input for row in result.rows):
        tables.show(benchmark_table(result))
        say()
        tables.show(tables.verdict(result.sentence()))
        for note in () if quiet else result.notes():
            tables.show(note)
    if json_file is not None and json_file != STANDARD_OUTPUT:
        write_atomically(json_file, (json.dumps(result.to_json(), indent=1) + "\n").encode())
    for line in result.problems():
        complain(line)


def benchmark_table(result: Benchmark) -> Table:
    """A row for each backend, form and batch size."""
    from resnet_core.cli.tables import Column, fitted_table

    rows = result.rows

    def cells(text: Callable[[BenchmarkRow], str]) -> Sequence[str]:
        return ["–" if row.problem is not None else text(row) for row in rows]

    columns = [
        Column("batch", [str(row.batch) for row in rows]),
        Column("backend", [row.backend for row in rows], "left"),
        Column("form", [row.form for row in rows], "left"),
        Column("error", [_error(row) for row in rows], expendable=2),
        Column("median", cells(lambda row: _seconds(row.seconds.median))),
        Column("95% interval", cells(lambda row: f"{_seconds(row.seconds.low)} – {_seconds(row.seconds.high)}")),
        Column("p99", cells(lambda row: "–" if row.p99 is None else _seconds(row.p99)), expendable=3),
        Column("images/s", cells(lambda row: _digits(row.images_per_second))),
        Column("× first", cells(_ratio), expendable=1),
        Column("of limit", cells(lambda row: _share(result.share(row))), expendable=4),
        Column("first call", cells(lambda row: _seconds(row.first_seconds)), expendable=5),
        Column("build", cells(lambda row: _seconds(row.build_seconds)), expendable=6),
        Column("import", cells(lambda row: _seconds(row.import_seconds)), expendable=8),
        Column("memory", cells(lambda row: f"{row.peak_memory_bytes / 2**20:,.0f} MiB"), expendable=7),
    ]
    return fitted_table(columns, ["" if row.problem is None else "red" for row in rows])


def _error(row: BenchmarkRow) -> str:
    from resnet_core.comparison.wording import scientific

    return "–" if row.error is None else scientific(row.error)


def _ratio(row: BenchmarkRow) -> str:
    if (ratio := row.ratio) is None:
        return "1"
    return f"{_digits(ratio.median)} ({_digits(ratio.low)} – {_digits(ratio.high)})"


def _share(share: float | None) -> str:
    return "–" if share is None else f"{_digits(100 * share)}%"


def _digits(number: float) -> str:
    """Three digits, or the whole number."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _seconds(seconds: float) -> str:
    return f"{_digits(seconds)} s" if seconds >= 1 else f"{_digits(seconds * 1000)} ms"
