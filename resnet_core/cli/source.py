"""`resnet source`: a network as a program of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from resnet_core.cli.options import BackendOption, SetOption, SpecArgument, resolve_spec
from resnet_core.files import write_new


def print_source(
    spec: SpecArgument,
    backend: BackendOption,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="F", help="Write to F, which must be new or the same already.")] = None,
    overrides: SetOption = None,
) -> None:
    """A complete program that builds the network in one framework; this project is not needed to run it."""
    from resnet_core.backend import source

    text = source(resolve_spec(spec, overrides), backend)
    if output is None:
        print(text, end="")
    else:
        write_new(output, text.encode())
