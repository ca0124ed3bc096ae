"""Reading and writing specs: TOML, JSON, and overrides as text.

TOML has no null, so None is written as "none" there and read back as None.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from resnet_core import zoo
from resnet_core.errors import InputError, SpecError
from resnet_core.fields import dump_toml, parse_assignments, parse_json, parse_toml, read_fields, with_none
from resnet_core.files import write_atomically
from resnet_core.specification import OPTIONAL, ResNetSpec, from_fields, to_fields


def spec(source: str | Path | ResNetSpec, /, **overrides: Any) -> ResNetSpec:
    """A spec by name, from a .toml or .json file, or from another spec, with fields replaced. Raises InputError.

    >>> spec("resnet50", classes=10).classes
    10
    """
    if isinstance(source, ResNetSpec):
        fields = to_fields(source)
    elif isinstance(source, Path) or Path(source).suffix in (".toml", ".json"):
        fields = with_none(read_fields(Path(source), "a spec", SpecError), OPTIONAL)
    else:
        fields = zoo.fields(source)
    return from_fields({**fields, **overrides})


def names() -> list[str]:
    """The named specs, in the order in which `resnet list` prints them."""
    return list(zoo.ZOO)


def to_toml(spec: ResNetSpec) -> str:
    """The spec as TOML text; `from_toml` gives it back unchanged."""
    return dump_toml(to_fields(spec))


def to_json(spec: ResNetSpec) -> str:
    """The spec as one line of JSON; `from_json` gives it back unchanged."""
    return json.dumps(to_fields(spec))


def from_toml(text: str, where: str = "TOML") -> ResNetSpec:
    """A spec from TOML text. Raises SpecError."""
    return from_fields(with_none(parse_toml(text, where, SpecError), OPTIONAL))


def from_json(text: str, where: str = "JSON") -> ResNetSpec:
    """A spec from JSON text. Raises SpecError."""
    return from_fields(parse_json(text, where, "spec fields", SpecError))


def save_spec(path: str | Path, spec: ResNetSpec) -> None:
    """Write the spec to a .toml or .json file, atomically. Raises InputError."""
    write = {".toml": to_toml, ".json": to_json}.get(Path(path).suffix)
    if write is None:
        raise InputError(f"{path}: received the ending {Path(path).suffix!r}; expected .toml or .json")
    write_atomically(Path(path), write(spec).rstrip("\n").encode() + b"\n")


def parse_overrides(assignments: Iterable[str]) -> dict[str, Any]:
    """The fields in `key=value …`, where a value is a TOML value, none, or plain text.

    >>> parse_overrides(["classes=10", "depths=[2, 2]", "block=basic", "output_stride=none"])
    {'classes': 10, 'depths': [2, 2], 'block': 'basic', 'output_stride': None}
    """
    return parse_assignments(assignments, "classes=10", OPTIONAL)
