"""What specs and recipes share: checking their fields, rejecting bad ones in one line, and reading them from files.

TOML has no null, so None is written as "none" there and read back as None.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

import msgspec
from msgspec.structs import asdict, force_setattr

from resnet_core.errors import InputError
from resnet_core.files import read_bytes

#: The most fields that a message lists; the longest that fit are a recipe's.
_SHOWN = 45

#: Bytes of a text with fields: a spec or a recipe of a person is a page of it.
MOST_TEXT = 2**18

#: Lists and tables within each other.
_NESTED = 16

#: Of an integer.
_BITS = 64

#: Parts of a key: reading one takes the square of their number.
_PARTS = 32


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


def represent(struct: msgspec.Struct) -> str:
    """The call that makes an equal one: every field that is not its default."""
    fields = ((field, getattr(struct, field.name)) for field in msgspec.structs.fields(struct))
    given = ", ".join(f"{field.name}={value!r}" for field, value in fields if value != field.default)
    return f"{type(struct).__name__}({given})"


def plain_fields(struct: msgspec.Struct) -> dict[str, Any]:
    """Every field, with lists for tuples, as written to a file."""
    return {field: list(value) if isinstance(value, tuple) else value for field, value in asdict(struct).items()}


def refuse(field: str, received: object, allowed: str, error: type[InputError]) -> NoReturn:
    """Raise `error` with the field's path, what was received and what is allowed."""
    raise error(f"{field}: received {show(received)}; allowed is {allowed}")


def require_characters(field: str, text: str, error: type[InputError]) -> None:
    """Raise `error` for a text with half a character, which no file can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        refuse(field, text, "text of whole characters: this has a lone surrogate", error)


def show(value: object) -> str:
    """A received value as text, shortened to fit a one-line message."""
    try:
        text = repr(list(value)) if isinstance(value, tuple) else "none" if value is None else repr(value)
    except (ValueError, RecursionError):  # digits that Python does not write, lists that are too deep to be written
        return f"a {type(value).__name__} that is too long to be shown"
    return text if len(text) <= 80 else f"{text[:77]}..."


def read_fields(path: Path, what: str, error: type[InputError]) -> dict[str, Any]:
    """The fields in a .toml or .json file; `name` defaults to the file's name. `what` is "a spec", … for messages."""
    expected = f"{what} in TOML or JSON"
    try:
        text = read_bytes(path, expected, most=MOST_TEXT).decode()
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
    _require_short(text, where, MOST_TEXT, error)
    if any(_dots(line) >= _PARTS for line in text.splitlines()):
        raise error(f"{where}: not valid TOML: a key of more than {_PARTS} parts")
    try:
        fields = tomllib.loads(text)
    except (ValueError, RecursionError) as trouble:
        raise error(f"{where}: not valid TOML: {_reason(trouble)}") from trouble
    _require_plain(fields, where, error)
    return fields


def parse_json(text: str, where: str, what: str, error: type[InputError], *, most: int = MOST_TEXT) -> dict[str, Any]:
    """The fields in JSON text, which must be an object of `what`, each there once, of at most `most` characters.

    Raises `error`, whose message starts with `where`.
    """
    fields = load_json(text, where, error, most=most)
    if not isinstance(fields, dict):
        raise error(f"{where}: received a {type(fields).__name__}; expected an object of {what}")
    return fields


def load_json(text: str, where: str, error: type[InputError], *, most: int = MOST_TEXT) -> Any:
    """The value in JSON text, in which no key is twice and nothing nested deeply. Raises as `parse_json` does."""
    _require_short(text, where, most, error)
    try:
        value = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as trouble:
        raise error(f"{where}: not valid JSON: {_reason(trouble)}") from trouble
    _require_plain(value, where, error)
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} is there twice")
    return found


def _require_short(text: str, where: str, most: int, error: type[InputError]) -> None:
    if len(text) > most:
        raise error(f"{where}: received {len(text):,} characters; expected at most {most:,}")


def _require_plain(value: Any, where: str, error: type[InputError]) -> None:
    """Raise `error` for lists and tables nested so deeply, and integers so long, that whoever looks at them fails."""
    level, depth = [value], 0
    while level:
        if any(type(each) is int and each.bit_length() > _BITS for each in level):
            raise error(f"{where}: received an integer of too many digits; expected one of {_BITS} bits at most")
        if depth > _NESTED:
            raise error(f"{where}: nested more than {_NESTED} times; expected fields with values")
        level, depth = [inner for each in level for inner in _parts(each)], depth + 1


def _parts(value: Any) -> Collection[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _dots(line: str) -> int:
    """Dots of the longest word in a line of TOML, which may have blanks around them."""
    joined = " ".join(line.split()).replace(" .", ".").replace(". ", ".")
    return max(word.count(".") for word in re.split(r"[ =,#\[\]{}]", joined))


def _reason(trouble: Exception) -> str:
    """What a parser says; Python's own words about a number of 5,000 digits tell how to allow it."""
    if isinstance(trouble, RecursionError):
        return "nested too deeply"
    return "an integer of too many digits" if "integer string conversion" in str(trouble) else str(trouble)


def parse_assignments(assignments: Iterable[str], example: str, optional: Sequence[str]) -> dict[str, Any]:
    """The fields in `key=value …`, where a value is a TOML value, none, or plain text. Errors quote the `example`."""
    fields: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key.strip():
            raise InputError(f"override: received {assignment!r}; expected key=value, such as {example}")
        fields[key.strip()] = _value(value.strip(), key.strip())
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


def _value(text: str, key: str) -> Any:
    for written in (text, f"[{text}]") if "," in text else (text,):  # 3,4,6,3 is a list, with its brackets or without
        try:
            value = tomllib.loads(f"value = {written}")["value"]
        except tomllib.TOMLDecodeError:
            continue
        except (ValueError, RecursionError) as trouble:
            raise InputError(f"{key}: received {show(text)}; {_reason(trouble)}") from trouble
        _require_plain(value, key, InputError)
        return value
    return text
