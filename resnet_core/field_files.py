"""Fields from TOML and JSON files and from the command line: what specs and recipes are read with.

TOML has no null, so a field that may be None is written as "none" there, and read back from it.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from resnet_core.errors import InputError
from resnet_core.files import read_bytes


def read_fields(path: Path, what: str, error: type[InputError]) -> dict[str, Any]:
    """The fields in a .toml or .json file, `name` being the file's unless it has one. `what` is "a spec", …"""
    expected = f"{what} in TOML or JSON"
    try:
        text = read_bytes(path, expected).decode()
    except UnicodeDecodeError as trouble:
        raise error(f"{path}: not UTF-8 text (byte {trouble.start}); expected {expected}") from trouble
    if path.suffix not in (".toml", ".json"):
        raise InputError(f"{path}: received the ending {path.suffix!r}; expected .toml or .json")
    if path.suffix == ".json":
        fields = parse_json(text, str(path), f"{what.removeprefix('a ')} fields", error)
    else:
        fields = parse_toml(text, str(path), error)
    return {"name": path.stem, **fields}


def dump_toml(fields: dict[str, Any]) -> str:
    """The fields as TOML text."""
    import tomli_w

    return tomli_w.dumps({key: "none" if value is None else value for key, value in fields.items()})


def parse_toml(text: str, where: str, error: type[InputError]) -> dict[str, Any]:
    """The fields of TOML text; `where` starts the message of `error`."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as trouble:
        raise error(f"{where}: not valid TOML: {trouble}") from trouble


def parse_json(text: str, where: str, what: str, error: type[InputError]) -> dict[str, Any]:
    """The fields of JSON text, which must hold an object of `what`."""
    try:
        fields = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as trouble:
        raise error(f"{where}: not valid JSON: {trouble}") from trouble
    if not isinstance(fields, dict):
        raise error(f"{where}: received a {type(fields).__name__}; expected an object of {what}")
    return fields


def parse_assignments(assignments: Iterable[str], option: str, example: str, optional: Sequence[str]) -> dict[str, Any]:
    """The fields of `key=value …`: a value is a TOML value, none, or plain text. `option` and `example` are quoted."""
    fields: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key.strip():
            raise InputError(f"{option}: received {assignment!r}; expected key=value, such as {example}")
        fields[key.strip()] = _value(value.strip())
    return with_none(fields, optional)


def with_none(fields: dict[str, Any], optional: Sequence[str]) -> dict[str, Any]:
    """The fields with "none" as None where a field may be None."""
    return {key: None if value == "none" and key in optional else value for key, value in fields.items()}


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
