"""The neutral weight file: a single safetensors file, checked in full before any framework sees a byte of it.

It holds the neutral tensors in PyTorch's layout, and as metadata `format` (2), `spec` (JSON), `digest`, and where they
are known `preparation` (JSON, `resnet_core.preparation`) and `classes` (a JSON list of names). The digest is the
SHA-256 of the tensors and of the other metadata as they are stored, so that a later version, whose specs have one field
more, reads the same bytes. Format 1, whose digest covers the tensors only, is read for ever. Nothing is ever executed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from resnet_core.analysis import state
from resnet_core.architecture import layer_tree
from resnet_core.errors import InputError, NewerFormatError, WeightsError
from resnet_core.fields import require_characters
from resnet_core.preparation import Preparation, preparation_from_json
from resnet_core.safetensors_file import digest, read_safetensors, write_safetensors
from resnet_core.spec_files import Source, from_json, to_json
from resnet_core.spec_files import spec as read_spec
from resnet_core.specification import ResNetSpec
from resnet_core.tree import leaves
from resnet_core.weights import Weights, cast, check_weights

FORMAT = "2"

# Fields in which a file's spec may differ from the requested one: they do not change what the weights mean.
_FREE_FIELDS = (
    "name", "input_size", "output_stride", "global_pool", "norm_decay", "initializer", "zero_init_residual",
)  # fmt: skip


@dataclass(frozen=True)
class WeightFile:
    """What a neutral file holds; `preparation` and `classes` are None where it does not say."""

    spec: ResNetSpec
    weights: Weights = field(repr=False)
    preparation: Preparation | None = None
    classes: tuple[str, ...] | None = None
    format: str = FORMAT


def save_weights(
    path: str | Path,
    weights: Mapping[str, np.ndarray],
    spec: Source,
    *,
    preparation: Preparation | None = None,
    classes: Sequence[str] | None = None,
) -> None:
    """Check the weights against the spec and write them atomically. Equal content gives equal bytes.

    `preparation` says how pictures become images, `classes` what the classes are called, in order. Raises WeightsError
    if the weights do not fit the spec, InputError for names that do not or if the file cannot be written.
    """
    spec = read_spec(spec)
    checked = check_weights(weights, state(spec))
    metadata = file_metadata(checked, spec, preparation=preparation, classes=classes)
    write_safetensors(Path(path), checked, metadata)


def file_metadata(
    weights: Mapping[str, np.ndarray],
    spec: ResNetSpec,
    *,
    preparation: Preparation | None = None,
    classes: Sequence[str] | None = None,
) -> dict[str, str]:
    """What a file says beside its weights, which are checked already, with a digest over all of it."""
    metadata = {"format": FORMAT, "spec": to_json(spec)}
    if preparation is not None:
        _require_channels(preparation, spec)
        metadata["preparation"] = preparation.to_json()
    if classes is not None:
        _require_count(classes, spec)
        metadata["classes"] = json.dumps(list(classes), ensure_ascii=False)
    return {**metadata, "digest": file_digest(weights, metadata)}


def load_weights(
    path: str | Path, *, spec: Source | None = None, dtype: str | None = None
) -> tuple[Weights, ResNetSpec]:
    """(weights, spec) of a neutral file. With `spec`, the file must hold that network; with `dtype`, it is converted.

    Raises as `read_weight_file` does.
    """
    found = read_weight_file(path, spec=spec)
    return (found.weights if dtype is None else cast(found.weights, dtype)), found.spec


def read_weight_file(path: str | Path, *, spec: Source | None = None) -> WeightFile:
    """Everything in a neutral file. With `spec`, the file must hold that network.

    Raises WeightsError, one line, for anything that is not exactly such a file, InputError if it cannot be read.
    """
    path = Path(path)
    arrays, metadata = read_safetensors(path)
    if not is_own(metadata):
        raise WeightsError(
            f"{path}: a safetensors file without this project's metadata (format, spec, digest); "
            "expected one written by resnet_core.save_weights"
        )
    return checked_file(path, arrays, metadata, None if spec is None else read_spec(spec))


def is_own(metadata: Mapping[str, str]) -> bool:
    """Whether this is what `file_metadata` says."""
    return {"format", "spec", "digest"} <= metadata.keys()


def checked_file(
    path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str], spec: ResNetSpec | None = None
) -> WeightFile:
    """What a file holds whose metadata is this project's. Raises as `read_weight_file` does."""
    if metadata["format"] not in ("1", FORMAT):
        raise NewerFormatError(f"{path}: format {metadata['format']!r}; this version reads formats 1 and {FORMAT}")
    try:
        found = _checked(arrays, metadata)
    except InputError as error:
        raise WeightsError(f"{path}: {error}") from error
    if spec is not None:
        _require_network(path, found, spec)
    return found


def _checked(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> WeightFile:
    own = from_json(metadata["spec"])
    weights = check_weights(arrays, state(own))
    expected = digest(weights) if metadata["format"] == "1" else file_digest(weights, metadata)
    if metadata["digest"] != expected:
        raise WeightsError("the digest does not match: the file was damaged or changed; get a fresh copy")
    if metadata["format"] == "1":
        return WeightFile(own, weights, format="1")
    preparation = classes = None
    if "preparation" in metadata:
        preparation = preparation_from_json(metadata["preparation"], "preparation")
        _require_channels(preparation, own)
    if "classes" in metadata:
        classes = _names(metadata["classes"])
        _require_count(classes, own)
    return WeightFile(own, weights, preparation, classes)


def _names(text: str) -> tuple[str, ...]:
    try:
        return tuple(msgspec.json.decode(text, type=list[str]))
    except msgspec.DecodeError as error:
        raise InputError(f"classes: received {text[:40]!r}; expected a JSON list of names") from error


def _require_network(path: Path, found: WeightFile, spec: ResNetSpec) -> None:
    own = found.spec
    try:
        check_weights(found.weights, state(spec))
    except WeightsError as error:
        raise WeightsError(f"{path}: holds {own.name or 'another spec'}, not the requested network: {error}") from error
    if (difference := _difference(own, spec)) is not None:
        raise WeightsError(f"{path}: was written for another network: {difference}")


def _require_channels(preparation: Preparation, spec: ResNetSpec) -> None:
    if preparation.channels != spec.in_channels:
        raise InputError(f"preparation: received channels = {preparation.channels}; expected {spec.in_channels}")


def _require_count(classes: Sequence[str], spec: ResNetSpec) -> None:
    if len(classes) != spec.classes:
        raise InputError(f"classes: received {len(classes)} names; expected one for each of {spec.classes} classes")
    for name in classes:
        require_characters("classes", name, InputError)


def file_digest(weights: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> str:
    """Format 2's: SHA-256 of the tensors' digest and of all other metadata, by name, in the bytes that are stored."""
    total = hashlib.sha256(digest(weights).encode())
    for name in sorted(metadata.keys() - {"digest"}):
        for text in (name, metadata[name]):
            data = text.encode()
            total.update(len(data).to_bytes(8, "little") + data)
    return total.hexdigest()


def _difference(own: ResNetSpec, other: ResNetSpec) -> str | None:
    """The first layer that the two specs compute differently, apart from the fields that may differ."""
    try:
        twin = msgspec.structs.replace(own, **{field: getattr(other, field) for field in _FREE_FIELDS})
    except InputError as error:
        return str(error)
    pairs = zip(leaves(layer_tree(twin)), leaves(layer_tree(other)), strict=False)
    for (path, mine), (other_path, theirs) in pairs:
        if (path, mine) != (other_path, theirs):
            return f"{path} is {mine} in the file, and {other_path} is {theirs} here"
    return None
