"""`resnet lesson`: a network on one page, its picture and its programs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from resnet_core.cli.options import SetOption, SpecArgument, output_file, resolve_spec
from resnet_core.errors import InputError
from resnet_core.files import write_atomically


def write_lesson(
    spec: SpecArgument,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="F", help="The page, F.html.", callback=output_file)
    ],
    overrides: SetOption = None,
    train: Annotated[
        bool, typer.Option("--train", help="With the training step: optimizer, loss, rates, loop.")
    ] = False,
    recipe: Annotated[
        str | None, typer.Option(metavar="F", help="A recipe's name or file, for --train; by default fashion-adam.")
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure/--no-measure", help="Make each usual mistake once, to say what it costs.")
    ] = True,
) -> None:
    """A page for teaching: the network's picture, its programs line by line beside each other, shapes and costs."""
    if output.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"lesson: received {output.name!r}; expected a file that ends in .html")
    if recipe is not None and not train:
        raise InputError("--recipe: received without --train; add it, since only training has a recipe")
    network = resolve_spec(spec, overrides)
    from resnet_core.lessons.lesson import lesson

    write_atomically(output, lesson(network, train=recipe or train, measured=measure).encode())
