"""`resnet source`: a network as a program of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from resnet_core.cli.options import BackendOption, SetOption, SpecArgument, output_file, resolve_spec
from resnet_core.cli.output import say
from resnet_core.errors import InputError
from resnet_core.files import write_new


def print_source(
    spec: SpecArgument,
    backend: BackendOption,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="F",
            help="Write to F, which must be new or the same already.",
            callback=output_file,
        ),
    ] = None,
    overrides: SetOption = None,
    train: Annotated[
        bool, typer.Option("--train", help="Print its training too: optimizer, loss, rates, loop.")
    ] = False,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="F", help="A recipe's name or file, for --train; by default fashion-adam, as `resnet train`."
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="KEY=VALUE", help="Replace a field of the recipe; can be repeated."),
    ] = None,
) -> None:
    """Print a network as a program in one framework. It is complete: this project is not needed to run it."""
    from resnet_core.programs.source import source
    from resnet_core.training.recipe_files import DEFAULT, recipe_overrides
    from resnet_core.training.recipe_files import recipe as read_recipe

    if not train and (recipe is not None or changes):
        raise InputError("--recipe, --with: received without --train; add it, since only training has a recipe")
    plan = read_recipe(recipe or DEFAULT, **recipe_overrides(changes or [])) if train else False
    text = source(resolve_spec(spec, overrides), backend, train=plan)
    if output is None:
        say(text, end="")
    else:
        write_new(output, text.encode())
