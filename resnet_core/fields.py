"""What specs and recipes share: checking their fields, rejecting bad ones in one line, and reading them from files.

TOML has no null, so None is written as "none" there and read back as None.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

import msgspec
from msgspec.structs import asdict, force_setattr

from resnet_core.errors import InputError
from resnet_core.files import read_bytes

#: The most fields that a message lists; the longest that fit are a recipe's.
_SHOWN = 45


def require_known(
    fields: Mapping[str, Any], known: Mapping[str, str], required: Sequence[str], error: type[InputError]
) -> None:
    """Raise `error` for an unknown field (with the closest known one) or a missing one."""
    for field in fields:
        if field not in known:
            close = difflib.get_close_matches(field, known, n=1)
            raise error(f"{field}: unknown field; " + (f"did you mean {close[0]}?" if close else _all(known)))
    for field in required:
        if field not in fields:
            raise error(f"{field}: missing; expected {known[field]}")


def convert_fields(
    struct: msgspec.Struct, known: Mapping[str, str], error: type[InputError], *, sizes: Sequence[str] = ()
) -> None:
    """Convert and check every field of a struct under construction against its annotation.

    In the fields named in `sizes`, a single integer means a square.
    """
    for field, kind in _field_types(type(struct)).items():
        value = getattr(struct, field)
        if field in sizes and type(value) is int:
            value = (value, value)
        try:
            force_setattr(struct, field, msgspec.convert(value, kind))
        except msgspec.ValidationError as trouble:
            index = str(trouble).rpartition("at `$[")[2].partition("]")[0]
            if index.isdigit() and isinstance(value, list | tuple):
                refuse(f"{field}[{index}]", value[int(index)], known[field], error)
            refuse(field, value, known[field], error)


def plain_fields(struct: msgspec.Struct) -> dict[str, Any]:
    """Every field, with lists for tuples, as written to a file."""
    return {field: list(value) if isinstance(value, tuple) else value for field, value in asdict(struct).items()}


def refuse(field: str, received: object, allowed: str, error: type[InputError]) -> NoReturn:
    """Raise `error` with the field's path, what was received and what is allowed."""
    raise error(f"{field}: received {show(received)}; allowed is {allowed}")


def show(value: object) -> str:
    """A received value as text, shortened to fit a one-line message."""
    text = repr(list(value)) if isinstance(value, tuple) else "none" if value is None else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def read_fields(path: Path, what: str, error: type[InputError]) -> dict[str, Any]:
    """The fields in a .toml or .json file; `name` defaults to the file's name. `what` is "a spec", … for messages."""
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
    """The fields in TOML text. Raises `error`, whose message starts with `where`."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as trouble:
        raise error(f"{where}: not valid TOML: {trouble}") from trouble


def parse_json(text: str, where: str, what: str, error: type[InputError]) -> dict[str, Any]:
    """The fields in JSON text, which must be an object of `what`. Raises `error`, whose message starts with `where`."""
    try:
        fields = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as trouble:
        raise error(f"{where}: not valid JSON: {trouble}") from trouble
    if not isinstance(fields, dict):
        raise error(f"{where}: received a {type(fields).__name__}; expected an object of {what}")
    return fields


def parse_assignments(assignments: Iterable[str], example: str, optional: Sequence[str]) -> dict[str, Any]:
    """The fields in `key=value …`, where a value is a TOML value, none, or plain text. Errors quote the `example`."""
    fields: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key.strip():
            raise InputError(f"override: received {assignment!r}; expected key=value, such as {example}")
        fields[key.strip()] = _value(value.strip())
    return with_none(fields, optional)


def with_none(fields: dict[str, Any], optional: Sequence[str]) -> dict[str, Any]:
    """The fields, with "none" replaced by None in the optional ones."""
    return {key: None if value == "none" and key in optional else value for key, value in fields.items()}


def _all(known: Collection[str]) -> str:
    """The fields, or the first of many."""
    shown = list(known) if len(known) <= _SHOWN else [*list(known)[: _SHOWN // 2], f"… ({len(known)} in all)"]
    return f"the fields are {', '.join(shown)}"


@cache
def _field_types(kind: type[msgspec.Struct]) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _value(text: str) -> Any:
    for written in (text, f"[{text}]") if "," in text else (text,):  # 3,4,6,3 is a list, with its brackets or without
        with suppress(tomllib.TOMLDecodeError):
            return tomllib.loads(f"value = {written}")["value"]
    return text
