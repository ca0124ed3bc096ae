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

#: What names a network: a name of the zoo, a .toml or .json file, a run's folder, a weight file, or the spec itself.
Source = str | Path | ResNetSpec


def spec(source: Source | None = None, /, **overrides: Any) -> ResNetSpec:
    """A spec by name, from a .toml or .json file, from a run's folder, a weight file, from another spec, or of fields.

    Fields are replaced by the `overrides`. A name of the zoo goes before a folder of that name. Raises InputError.

    >>> spec("resnet50", classes=10).classes
    10
    >>> spec(depths=[2, 2], channels=[16, 32], block="basic").depths
    (2, 2)
    """
    where = ""
    if isinstance(source, ResNetSpec) and not overrides:
        return source
    if source is None:
        fields = {}
    elif isinstance(source, ResNetSpec):
        fields = to_fields(source)
    elif not isinstance(source, str | Path):
        raise InputError(f"spec: received a {type(source).__name__}; expected a name, a file, a run or a ResNetSpec")
    elif str(source) not in zoo.ZOO and is_run(Path(source)):
        where = str(Path(source) / "spec.toml")
        fields = with_none(read_fields(Path(where), "a spec", SpecError), OPTIONAL)
    elif is_weight_file(Path(source)):
        fields = to_fields(from_json(_metadata(Path(source))["spec"], str(source)))
    elif isinstance(source, Path) or Path(source).suffix in (".toml", ".json"):
        where = str(source)
        fields = with_none(read_fields(Path(source), "a spec", SpecError), OPTIONAL)
    else:
        fields = zoo.fields(source)
    try:
        return from_fields({**fields, **overrides})
    except SpecError as error:
        field = str(error).partition(":")[0].partition("[")[0]
        if not where or field in overrides:
            raise
        raise SpecError(f"{where}: {error}") from error


_read = spec  # for functions with a parameter of that name


def is_run(path: Path) -> bool:
    """Whether this is the folder of a training run."""
    return (path / "spec.toml").is_file() and (path / "run.json").is_file()


def is_weight_file(path: Path) -> bool:
    """Whether this is a neutral weight file, as far as its metadata say."""
    return path.suffix == ".safetensors" and {"format", "spec", "digest"} <= _metadata(path).keys()


def _metadata(path: Path) -> dict[str, str]:
    from resnet_core.safetensors_file import read_metadata  # with NumPy, which no name and no file of fields needs

    return read_metadata(path)


def brings_weights(source: Source) -> bool:
    """Whether this is a run's folder or a neutral weight file, and no name of the zoo."""
    if not isinstance(source, str | Path) or str(source) in zoo.ZOO:  # what is neither names nothing
        return False
    return is_run(Path(source)) or is_weight_file(Path(source))


def names(family: str | None = None, like: str | None = None) -> list[str]:
    """The named specs, in the order in which `resnet list` prints them.

    Only those of a `family`; only those that hold a text, or match a pattern with `*` and `?`. Raises InputError where
    there are none.

    >>> names("keras", like="*50*")
    ['keras_resnet50', 'keras_resnet50_v2']
    """
    return zoo.names(family, like)


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


def save_spec(path: str | Path, spec: Source) -> None:
    """Write a network's spec to a .toml or .json file, atomically. Raises InputError."""
    write = {".toml": to_toml, ".json": to_json}.get(Path(path).suffix)
    if write is None:
        raise InputError(f"{path}: received the ending {Path(path).suffix!r}; expected .toml or .json")
    write_atomically(Path(path), write(_read(spec)).rstrip("\n").encode() + b"\n")


def parse_overrides(assignments: Iterable[str]) -> dict[str, Any]:
    """The fields in `key=value …`, where a value is a TOML value, none, or plain text.

    >>> parse_overrides(["classes=10", "depths=[2, 2]", "block=basic", "output_stride=none"])
    {'classes': 10, 'depths': [2, 2], 'block': 'basic', 'output_stride': None}
    """
    return parse_assignments(assignments, "classes=10", OPTIONAL)
