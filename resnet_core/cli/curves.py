"""`resnet curves`: loss and accuracy of one run, or of several over each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from resnet_core.cli.options import JsonFlag, output_file, print_json
from resnet_core.cli.output import say
from resnet_core.errors import InputError


def draw_run_curves(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", help="Folders that `resnet train` made.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="F",
            help="Write F.png or F.svg; by default one run's own curves.*.",
            callback=output_file,
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Draw loss and accuracy of one run, or of several together. They are drawn against epochs."""
    from resnet_core.training.curves import draw_curves, read_curves

    if output is None and not as_json and len(runs) > 1:
        raise InputError(f"curves: received {len(runs)} runs and no file; name a .png or .svg file with -o")
    found = read_curves(runs)
    if as_json:
        print_json([curves.to_json() for curves in found])
    if output is not None or not as_json:
        files = [runs[0] / f"curves.{ending}" for ending in ("png", "svg")] if output is None else [output]
        draw_curves(found, files)
        if not as_json:
            say(", ".join(map(str, files)))
