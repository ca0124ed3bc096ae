"""The `resnet` command line. Exit code 0: success; 1: a check failed; 2: bad input (with a one-line message)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from resnet_core.cli.hints import option_hint
from resnet_core.cli.options import Command
from resnet_core.cli.output import exit_code, prepare_streams, say
from resnet_core.cli.status import status
from resnet_core.errors import InputError, ResNetError
from resnet_core.workers import MARK

#: {command: (module beside this one, function)}, in the order of the help. Only the one that is named is imported:
#: `resnet list` does not wait for what `resnet train` needs.
COMMANDS = {
    "list": ("listing", "list_specs"),
    "show": ("show", "show_spec"),
    "compare": ("compare", "compare_backends"),
    "bench": ("bench", "time_backends"),
    "predict": ("prediction", "predict_pictures"),
    "convert": ("conversion", "convert_weights"),
    "certify": ("conversion", "certify_weights"),
    "source": ("source", "print_source"),
    "lesson": ("lesson", "write_lesson"),
    "diff": ("difference", "diff_networks"),
    "train": ("training", "train_network"),
    "recipes": ("recipes", "list_recipes"),
    "data": ("data", "check_data_set"),
    "evaluate": ("training", "evaluate_run"),
    "curves": ("curves", "draw_run_curves"),
    "conformance": ("conformance", "check_conformance"),
}

#: What the commands and their group have alike.
_STYLE: Any = {
    "context_settings": {"help_option_names": ["-h", "--help"]},
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
}


def command_function(name: str) -> Callable[..., None]:
    """The function of a command, whose signature declares its arguments and options."""
    module, function = COMMANDS[name]
    found: Callable[..., None] = getattr(import_module(f"resnet_core.cli.{module}"), function)
    return found


class _Commands(Mapping[str, Any]):
    """Every command by its name, made when it is asked for."""

    def __getitem__(self, name: str) -> Any:
        if name not in COMMANDS:
            raise KeyError(name)
        alone = typer.Typer(add_completion=False, **_STYLE)
        alone.command(name, cls=Command)(command_function(name))
        return typer.main.get_command(alone)

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class _Group(TyperGroup):
    """`resnet` itself."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands: Any = _Commands()

    def list_commands(self, ctx: Any) -> list[str]:
        """The names alone; Typer's own looks at every command."""
        return list(self.commands)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """`resnet help train` is `resnet train --help`."""
        return super().parse_args(ctx, [*args[1:2], "--help"] if args[:1] == ["help"] else args)

    def invoke(self, ctx: Any) -> Any:
        """Ctrl-C in a command, which Typer would answer without a word or with an empty line, is said by `main`."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Abort from None


app = typer.Typer(no_args_is_help=True, cls=_Group, **_STYLE)


#: A missing argument, an unknown option, … Typer exports only `BadParameter`; the common base class is click's, or
#: that of the copy of click inside newer versions of Typer, so it cannot be imported by name.
USAGE_ERROR: Any = typer.BadParameter.__base__


def main() -> NoReturn:
    """Run the command line; every error that the user can fix is one line on stderr."""
    prepare_streams()
    if MARK in os.environ:
        from resnet_core.cli.processes import end, in_a_rank

        end(exit_code(lambda: in_a_rank(_run)))
    code = exit_code(_run)
    sys.exit(code)


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
        end = "" if said.endswith((".", "?", ")")) else "."
        raise InputError(f"{said}{end} See `{command_path} --help`.") from error
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
