"""Specs in and out: TOML, JSON, and the overrides of a command line.

TOML has no null, so a field that may be None is written as "none" then, and read back from it.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from resnet_core import zoo
from resnet_core.errors import InputError, SpecError
from resnet_core.files import read_bytes, write_atomically
from resnet_core.spec import OPTIONAL, ResNetSpec, from_fields, to_fields


def spec(source: str | Path | ResNetSpec, /, **overrides: Any) -> ResNetSpec:
    """A spec from a name of the zoo, a .toml or .json file, or another spec, with fields replaced.

    >>> spec("resnet50", classes=10).classes
    10
    """
    if isinstance(source, ResNetSpec):
        fields = to_fields(source)
    elif isinstance(source, Path) or Path(source).suffix in (".toml", ".json"):
        fields = _read(Path(source))
    else:
        fields = zoo.fields(source)
    return from_fields({**fields, **overrides})


def names() -> list[str]:
    """The names of the zoo, in the order in which `resnet list` prints them."""
    return list(zoo.ZOO)


def to_toml(spec: ResNetSpec) -> str:
    """The spec as TOML text; `from_toml` gives it back unchanged."""
    import tomli_w

    return tomli_w.dumps({k: "none" if v is None else v for k, v in to_fields(spec).items()})


def to_json(spec: ResNetSpec) -> str:
    """The spec as one line of JSON; `from_json` gives it back unchanged."""
    return json.dumps(to_fields(spec))


def from_toml(text: str, where: str = "TOML") -> ResNetSpec:
    """A spec from TOML text. Raises SpecError."""
    return from_fields(_parse_toml(text, where))


def from_json(text: str, where: str = "JSON") -> ResNetSpec:
    """A spec from JSON text. Raises SpecError."""
    return from_fields(_parse_json(text, where))


def save_spec(path: str | Path, spec: ResNetSpec) -> None:
    """Write the spec to a .toml or .json file, atomically."""
    write = {".toml": to_toml, ".json": to_json}.get(Path(path).suffix)
    if write is None:
        raise InputError(f"{path}: received the ending {Path(path).suffix!r}; expected .toml or .json")
    write_atomically(Path(path), write(spec).rstrip("\n").encode() + b"\n")


def parse_overrides(assignments: Iterable[str]) -> dict[str, Any]:
    """The fields of `--set key=value …`: a value is a TOML value, none, or plain text.

    >>> parse_overrides(["classes=10", "depths=[2, 2]", "block=basic", "output_stride=none"])
    {'classes': 10, 'depths': [2, 2], 'block': 'basic', 'output_stride': None}
    """
    overrides: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key.strip():
            raise InputError(f"--set: received {assignment!r}; expected key=value, such as classes=10")
        overrides[key.strip()] = _value(value.strip())
    return _with_none(overrides)


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _with_none(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: None if value == "none" and key in OPTIONAL else value for key, value in fields.items()}


def _read(path: Path) -> dict[str, Any]:
    try:
        text = read_bytes(path, "a spec in TOML or JSON").decode()
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: not UTF-8 text (byte {error.start}); expected a spec in TOML or JSON") from error
    if path.suffix not in (".toml", ".json"):
        raise InputError(f"{path}: received the ending {path.suffix!r}; expected .toml or .json")
    fields = (_parse_json if path.suffix == ".json" else _parse_toml)(text, str(path))
    return {"name": path.stem, **fields}


def _parse_toml(text: str, where: str) -> dict[str, Any]:
    try:
        fields = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{where}: not valid TOML: {error}") from error
    return _with_none(fields)


def _parse_json(text: str, where: str) -> dict[str, Any]:
    try:
        fields = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise SpecError(f"{where}: not valid JSON: {error}") from error
    if not isinstance(fields, dict):
        raise SpecError(f"{where}: received a {type(fields).__name__}; expected an object of spec fields")
    return fields
