"""Arguments and options that several commands share, and printing JSON."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from resnet_core import spec_files
from resnet_core.cli.output import say
from resnet_core.errors import InputError, ResNetError
from resnet_core.files import require_folder, require_writable
from resnet_core.json_values import finite
from resnet_core.specification import ResNetSpec
from resnet_core.zoo import ZOO

SpecArgument = Annotated[
    str,
    typer.Argument(metavar="SPEC", help="A name from `resnet list`, a .toml or .json file, a run, a weight file."),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace a field of the spec; can be repeated.")
]
BackendOption = Annotated[str, typer.Option(metavar="B", help="torch, keras, flax, numpy, …")]
DeviceOption = Annotated[str, typer.Option(metavar="D", help="auto, cpu or gpu.")]
#: What a limit of time may be, ten days and more: a clock has an end.
MOST_SECONDS = 1_000_000

PythonOption = Annotated[
    list[str] | None, typer.Option(metavar="NAME=PATH", help="A backend's own Python interpreter; can be repeated.")
]
TimeLimitOption = Annotated[
    float,
    typer.Option(metavar="SECONDS", help="Time limit for one step of one backend.", min=0.1, max=MOST_SECONDS),
]

#: In the place of a file to write.
STANDARD_OUTPUT = Path("-")

JsonFlag = Annotated[bool, typer.Option("--json", help="Print only JSON.")]


def output_file(context: typer.Context, value: Path | None) -> Path | None:
    """What every option that names a file to write is checked by, before any work. Raises InputError."""
    if value is not None and value != STANDARD_OUTPUT and not context.resilient_parsing:
        require_writable(value)
    return value


def output_folder(context: typer.Context, value: Path) -> Path:
    """The same for a folder, which may be there already. Raises InputError."""
    if not context.resilient_parsing:
        require_folder(value)
    return value


#: The words with which the command of this process was called, after its name.
ARGUMENTS: list[str] = []


class Command(TyperCommand):
    """A command whose options and arguments have a value, each of them, that is one: no empty text, no infinity.

    Its help has the names of arguments as they are typed: SPEC, or [SPEC] where it may be left out. Typer's own braces
    and types are others in each of its versions.
    """

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """What follows the command's name in the first line of its help."""
        arguments: Any = [each for each in self.params if each.param_type_name == "argument"]
        return ["[OPTIONS]", *(each.metavar if each.required else f"[{each.metavar}]" for each in arguments)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """The arguments and the options, with a line of help each."""
        sections: dict[str, list[tuple[str, str]]] = {"argument": [], "option": []}
        parameter: Any
        for parameter in self.get_params(ctx):
            if (record := parameter.get_help_record(ctx)) is not None:
                kind = parameter.param_type_name
                sections[kind].append((parameter.metavar, record[1]) if kind == "argument" else record)
        for kind, records in sections.items():
            if records:
                with formatter.section(f"{kind.capitalize()}s"):
                    formatter.write_dl(records)

    def parse_args(self, context: Any, arguments: list[str]) -> list[str]:
        ARGUMENTS[:] = arguments
        for before, word in zip(["", *arguments], arguments, strict=False):
            option, equals, value = word.partition("=")
            if not word or (option.startswith("--") and equals and not value):
                after = option or before
                raise typer.BadParameter(f"received '' after {after or 'the command'}; expected a value.", context)
        rest = super().parse_args(context, arguments)
        parameter: Any
        for parameter in self.params:
            value = context.params.get(parameter.name)
            if isinstance(value, float) and not isfinite(value):
                raise typer.BadParameter(f"received {value}; expected a number.", context, parameter)
        return rest


def resolve_spec(name: str, overrides: list[str] | None) -> ResNetSpec:
    """The spec from SPEC and the --set options; of another library's file of weights, the one that is inferred."""
    fields = spec_files.parse_overrides(overrides or [])
    if is_foreign(name):
        from resnet_core.conversion.read import import_weights

        return spec_files.spec(import_weights(name).spec, **fields)
    return spec_files.spec(name, **fields)


def brings_weights(name: str) -> bool:
    """Whether SPEC is a run, or a file of weights, anyone's."""
    return spec_files.brings_weights(name) or is_foreign(name)


def is_foreign(name: str) -> bool:
    """Whether this is another library's weights, and neither a name, nor a file of this project's own."""
    # Most names are neither a file nor one of published weights, which have a colon, and need nothing imported.
    if name in ZOO or not (Path(name).exists() or ":" in name) or spec_files.brings_weights(name):
        return False
    from resnet_core.conversion.read import may_be_imported

    return may_be_imported(name)


def print_json(value: Any) -> None:
    """Print only JSON to standard output."""
    say(json.dumps(finite(value), indent=1))


def quiet_frameworks() -> None:
    """Set the backend's environment variables, for commands that load its framework into their own process.

    TensorFlow writes of its build before anything can ask it not to: while a framework is imported, what it writes to
    standard error is dropped. An error that it raises is said.
    """
    from resnet_core import backend

    backend.importing = _without_standard_error
    for name in backend.backends():
        with contextlib.suppress(ResNetError):  # a broken backend may not be the one that is used
            backend.apply_environment(name)


@contextlib.contextmanager
def _without_standard_error() -> Iterator[None]:
    """What is written to standard error goes nowhere, by whatever library."""
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # whoever started this has closed it
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)


def parse_pythons(assignments: list[str]) -> dict[str, str]:
    """{backend: interpreter} from the --python options."""
    pythons = {}
    for assignment in assignments:
        name, equals, path = assignment.partition("=")
        if not equals or not name or not path:
            raise InputError(f"--python: received {assignment!r}; expected NAME=PATH, such as keras=/path/to/python")
        pythons[name] = path
    return pythons


def parse_size(text: str, option: str) -> tuple[int, int]:
    """(height, width) from 224 or 480x640."""
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.strip().isdecimal() and 0 < int(part) < 10**6 for part in parts):
        raise InputError(f"{option}: received {text!r}; expected a size such as 224 or 480x640 (height x width)")
    return int(parts[0]), int(parts[-1])
