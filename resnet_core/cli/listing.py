"""`resnet list`: the named specs by family, with their sizes."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from resnet_core import spec_files, zoo
from resnet_core.analysis import totals
from resnet_core.cli.options import JsonFlag, print_json


def _families(incomplete: str) -> list[str]:
    return [family for family in zoo.FAMILIES if family.startswith(incomplete)]


def list_specs(
    family: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only this family, such as se or cifar.", autocompletion=_families),
    ] = None,
    like: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="Only names that hold this text, or match it: 'se*50*'.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """List every named spec with its size, by family."""
    rows = [summary(name) for name in spec_files.names(family, like)]
    if as_json:
        print_json(rows)
    else:
        from resnet_core.cli import tables

        tables.show(tables.spec_table(rows))


def summary(name: str) -> dict[str, Any]:
    """A row of `resnet list`; `reference` is where its parameters were counted, as library/model."""
    spec = spec_files.spec(name)
    summary = totals(spec)
    return {
        "name": name,
        "family": zoo.family(name),
        "block": spec.block,
        "depths": list(spec.depths),
        "channels": list(spec.channels),
        "parameters": summary.parameters,
        "state": summary.state,
        "macs": summary.macs,
        "input": [*spec.input_size, spec.in_channels],
        "reference": zoo.REFERENCES.get(name),
    }
