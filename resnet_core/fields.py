"""What a spec and a recipe share: fields that are converted, checked, and refused in one clear line."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NoReturn, get_type_hints

import msgspec
from msgspec.structs import asdict, force_setattr

from resnet_core.errors import InputError


def require_known(
    fields: Mapping[str, Any], known: Mapping[str, str], required: Sequence[str], error: type[InputError]
) -> None:
    """Raise `error` for an unknown field (with the closest known one) or a missing one."""
    for field in fields:
        if field not in known:
            close = difflib.get_close_matches(field, known, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise error(f"{field}: unknown field; {hint}the fields are {', '.join(known)}")
    for field in required:
        if field not in fields:
            raise error(f"{field}: missing; expected {known[field]}")


def convert_fields(
    struct: msgspec.Struct, known: Mapping[str, str], error: type[InputError], *, sizes: Sequence[str] = ()
) -> None:
    """Convert and check every field of a struct under construction against its annotation.

    In the fields of `sizes` one integer stands for a square.
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
    """Every field, lists for tuples: what is written to a file."""
    return {field: list(value) if isinstance(value, tuple) else value for field, value in asdict(struct).items()}


def refuse(field: str, received: object, allowed: str, error: type[InputError]) -> NoReturn:
    """Raise `error` with the field's path, what was received and what is allowed."""
    raise error(f"{field}: received {show(received)}; allowed is {allowed}")


def show(value: object) -> str:
    """A received value, short enough for a line."""
    text = repr(list(value)) if isinstance(value, tuple) else "none" if value is None else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


@cache
def _field_types(kind: type[msgspec.Struct]) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)
