"""`resnet lesson`: a network on one page, its picture and its programs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from resnet_core.cli.options import SetOption, SpecArgument, brings_weights, is_foreign, output_file, resolve_spec
from resnet_core.errors import InputError
from resnet_core.files import write_atomically
from resnet_core.lessons.texts import LANGUAGES
from resnet_core.specification import ResNetSpec


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
    weights: Annotated[
        Path | None, typer.Option(metavar="F", help="Weights with which the network runs in the page.")
    ] = None,
    comparison: Annotated[
        Path | None, typer.Option(metavar="F", help="What `resnet compare --json F` wrote on this network.")
    ] = None,
    runs: Annotated[
        list[Path] | None, typer.Option(metavar="RUN", help="A run whose curves are shown; can be repeated.")
    ] = None,
    language: Annotated[str, typer.Option("--lang", metavar="L", help="en or zh.")] = "en",
    measure: Annotated[
        bool, typer.Option("--measure/--no-measure", help="Make each usual mistake once, to say what it costs.")
    ] = True,
) -> None:
    """Write a page that teaches a network. It has its picture, its programs beside each other, shapes and costs."""
    if output.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"lesson: received {output.name!r}; expected a file that ends in .html")
    if recipe is not None and not train:
        raise InputError("--recipe: received without --train; add it, since only training has a recipe")
    if language not in LANGUAGES:
        raise InputError(f"--lang: received {language!r}; expected one of {', '.join(LANGUAGES)}")
    network = resolve_spec(spec, overrides)
    source: ResNetSpec | Path = network
    if weights is None and not overrides:
        if is_foreign(spec):
            weights = Path(spec)
        elif brings_weights(spec):
            source = Path(spec)
    from resnet_core.lessons.lesson import lesson

    text = lesson(
        source,
        train=recipe or train,
        measured=measure,
        weights=weights,
        comparison=comparison,
        runs=runs or (),
        language=language,
    )
    write_atomically(output, text.encode())
