"""The `resnet` command line. Exit code 0: success; 1: a check failed; 2: bad input (with a one-line message)."""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from resnet_core import spec_files
from resnet_core.cli.bench import time_backends
from resnet_core.cli.conformance import check_conformance
from resnet_core.cli.conversion import certify_weights, convert_weights
from resnet_core.cli.curves import draw_run_curves
from resnet_core.cli.data import check_data_set
from resnet_core.cli.difference import diff_networks
from resnet_core.cli.hints import option_hint
from resnet_core.cli.lesson import write_lesson
from resnet_core.cli.listing import list_specs
from resnet_core.cli.options import (
    STANDARD_OUTPUT,
    Command,
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
from resnet_core.cli.output import complain, exit_code, prepare_streams, say
from resnet_core.cli.prediction import predict_pictures
from resnet_core.cli.recipes import list_recipes
from resnet_core.cli.show import show_spec
from resnet_core.cli.source import print_source
from resnet_core.cli.status import QuietFlag, status
from resnet_core.cli.training import evaluate_run, train_network
from resnet_core.errors import InputError, ResNetError
from resnet_core.files import write_atomically
from resnet_core.workers import TIME_LIMIT

if TYPE_CHECKING:
    from resnet_core.comparison.result import Comparison

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


#: A missing argument, an unknown option, … Typer exports only `BadParameter`; the common base class is click's, or
#: that of the copy of click inside newer versions of Typer, so it cannot be imported by name.
USAGE_ERROR: Any = typer.BadParameter.__base__


def main() -> NoReturn:
    """Run the command line; every error that the user can fix is one line on stderr."""
    prepare_streams()
    sys.exit(exit_code(_run))


@cache
def _command() -> Any:
    return typer.main.get_command(app)


def _run() -> int:
    try:
        code = _command().main(standalone_mode=False, prog_name="resnet")
    except typer.Abort:
        raise KeyboardInterrupt from None
    except USAGE_ERROR as error:
        context: Any = getattr(error, "ctx", None)
        if type(error).__name__ == "NoArgsIsHelpError":  # not exported either
            say(context.get_help())
            return 0
        command_path = "resnet" if context is None else context.command_path
        hint = option_hint(error)
        said = f"{error.message}{hint}" if hint else error.format_message()  # which also has options that are near
        raise InputError(f"{said} See `{command_path} --help`.") from error
    except ResNetError:
        status(quiet=False)("")  # the line of progress
        raise
    return code if isinstance(code, int) else 0


def _version(wanted: bool) -> None:
    if wanted:
        from resnet_core.version import __version__

        say(f"resnet-core {__version__}")
        raise typer.Exit


@app.callback()
def options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """ResNets written once, compiled into PyTorch, Keras and Flax, and proven equal."""


app.command("list", cls=Command)(list_specs)
app.command("show", cls=Command)(show_spec)


@app.command("compare", cls=Command)
def compare_backends(
    spec: Annotated[
        str | None,
        typer.Argument(
            metavar="[SPEC]", help="A name from `resnet list`, or a file; by default the shipped trained network."
        ),
    ] = None,
    backends: Annotated[str | None, typer.Option(metavar="A,B", help="By default all installed ones.")] = None,
    device: DeviceOption = "auto",
    level: Annotated[str, typer.Option(help="shapes, logits, gradients or training.")] = "logits",
    dtype: Annotated[
        str | None, typer.Option(help="float32 or float64; by default float32, or float64 for gradients and training.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(metavar="F", help="Weights to use; by default random.")] = None,
    python: PythonOption = None,
    time_limit: TimeLimitOption = TIME_LIMIT,
    overrides: SetOption = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="F", help="Write JSON to F; with -, print only JSON.", callback=output_file),
    ] = None,
    quiet: QuietFlag = False,
) -> None:
    """Build the network in every backend, run it on real images, and check that all compute the same."""
    from resnet_core.comparison.compare import compare
    from resnet_core.prediction.network import trained_network

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
    _report(comparison, json_file)
    raise typer.Exit(2 if comparison.refused else 0 if comparison.equal else 1)


app.command("bench", cls=Command)(time_backends)
app.command("predict", cls=Command)(predict_pictures)
app.command("convert", cls=Command)(convert_weights)
app.command("certify", cls=Command)(certify_weights)
app.command("source", cls=Command)(print_source)
app.command("lesson", cls=Command)(write_lesson)
app.command("diff", cls=Command)(diff_networks)
app.command("train", cls=Command)(train_network)
app.command("recipes", cls=Command)(list_recipes)
app.command("data", cls=Command)(check_data_set)
app.command("evaluate", cls=Command)(evaluate_run)
app.command("curves", cls=Command)(draw_run_curves)
app.command("conformance", cls=Command)(check_conformance)


def _report(comparison: Comparison, json_file: Path | None) -> None:
    """Print a table and a sentence, or JSON, to standard output, and problems to standard error."""
    from resnet_core.cli import tables

    if json_file == STANDARD_OUTPUT:
        print_json(comparison.to_json())
    elif not all(result.bad_input or result.missing for result in comparison.backends.values()):
        tables.show(tables.comparison_table(comparison))
        say()
        tables.show(tables.verdict(comparison.sentence()))
        for note in comparison.notes():
            tables.show(note)
    if json_file is not None and json_file != STANDARD_OUTPUT:
        write_atomically(json_file, (json.dumps(comparison.to_json(), indent=1) + "\n").encode())
    for line in comparison.problems():
        complain(line)
