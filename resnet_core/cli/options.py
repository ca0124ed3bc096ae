"""What several commands share: their arguments and options, and JSON."""

from __future__ import annotations

import contextlib
import json
from typing import Annotated, Any

import typer

from resnet_core import spec_files
from resnet_core.backend import apply_environment, backends
from resnet_core.errors import ResNetError
from resnet_core.numerics import finite
from resnet_core.specification import ResNetSpec

SpecArgument = Annotated[
    str, typer.Argument(metavar="SPEC", help="A name from `resnet list`, or a .toml or .json file.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace a field of the spec; may be repeated.")
]
BackendOption = Annotated[str, typer.Option(metavar="B", help="torch, keras, flax, numpy, …")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu or gpu.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON alone.")]


def resolve_spec(name: str, overrides: list[str] | None) -> ResNetSpec:
    """The spec of SPEC and its --set options."""
    return spec_files.spec(name, **spec_files.parse_overrides(overrides or []))


def print_json(value: Any) -> None:
    """JSON alone on standard output."""
    print(json.dumps(finite(value), indent=1))


def quiet_frameworks() -> None:
    """For commands that load a framework into their own process: it gets the environment that its backend wants."""
    for name in backends():
        with contextlib.suppress(ResNetError):  # one that does not work is not always the one that is used
            apply_environment(name)
