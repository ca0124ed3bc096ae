"""The neutral weight file: a single safetensors file, checked in full before any framework sees a byte of it.

It holds the neutral tensors in PyTorch's layout and three metadata entries: `format` (its version), `spec` (JSON)
and `digest` (SHA-256 of the tensors). Nothing in it is ever executed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np

from resnet_core.analysis import state
from resnet_core.architecture import layer_tree
from resnet_core.errors import InputError, WeightsError
from resnet_core.files import read_bytes, write_atomically
from resnet_core.spec_files import from_json, to_json
from resnet_core.specification import ResNetSpec
from resnet_core.tree import leaves
from resnet_core.weights import Weights, cast, check_weights

FORMAT = "1"

# Fields in which a file's spec may differ from the requested one: they do not change what the weights mean.
_FREE_FIELDS = (
    "name", "input_size", "output_stride", "global_pool", "norm_decay", "initializer", "zero_init_residual",
)  # fmt: skip
_SAFETENSORS_DTYPES = {"F32": "float32", "F64": "float64"}
_COUNTER_DTYPES = {**_SAFETENSORS_DTYPES, "I64": "int64"}


def save_weights(path: str | Path, weights: Mapping[str, np.ndarray], spec: ResNetSpec) -> None:
    """Check the weights against the spec and write them atomically. Equal weights give equal bytes.

    Raises WeightsError if they do not fit the spec, InputError if the file cannot be written.
    """
    checked = check_weights(weights, state(spec))
    metadata = {"digest": digest(checked), "format": FORMAT, "spec": to_json(spec)}
    write_atomically(Path(path), safetensors_bytes(checked, metadata))


def load_weights(
    path: str | Path, *, spec: ResNetSpec | None = None, dtype: str | None = None
) -> tuple[Weights, ResNetSpec]:
    """(weights, spec) of a neutral file. With `spec`, the file must hold that network; with `dtype`, it is converted.

    Raises WeightsError, one line, for anything that is not exactly such a file, InputError if it cannot be read.
    """
    path = Path(path)
    arrays, metadata = read_safetensors(path)
    if not {"format", "spec", "digest"} <= metadata.keys():
        raise WeightsError(
            f"{path}: a safetensors file without this project's metadata (format, spec, digest); "
            "expected one written by resnet_core.save_weights"
        )
    if metadata["format"] != FORMAT:
        raise WeightsError(f"{path}: format {metadata['format']!r}; this version reads format {FORMAT}")
    try:
        own = from_json(metadata["spec"])
        weights = check_weights(arrays, state(own))
    except InputError as error:
        raise WeightsError(f"{path}: {error}") from error
    if digest(weights) != metadata["digest"]:
        raise WeightsError(f"{path}: the digest does not match: the file was damaged or changed; get a fresh copy")
    if spec is not None:
        try:
            check_weights(weights, state(spec))
        except WeightsError as error:
            raise WeightsError(
                f"{path}: holds {own.name or 'another spec'}, not the requested network: {error}"
            ) from error
        if (difference := _difference(own, spec)) is not None:
            raise WeightsError(f"{path}: was written for another network: {difference}")
    return (weights if dtype is None else cast(weights, dtype)), own


def digest(weights: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of names, dtypes, shapes and little-endian bytes, sorted by name."""
    total = hashlib.sha256()
    for name in sorted(weights):
        array = np.ascontiguousarray(weights[name])
        total.update(json.dumps([name, array.dtype.name, list(array.shape)]).encode())
        total.update(array.astype(array.dtype.newbyteorder("<"), copy=False).data)
    return total.hexdigest()


def read_safetensors(path: Path) -> tuple[Weights, dict[str, str]]:
    """({name: array}, metadata) of any safetensors file of float32 or float64 tensors; nothing is executed.

    PyTorch's counters, the only integers in a state_dict, are passed through; the caller decides about them. Raises
    WeightsError for any other file or dtype, InputError if it cannot be read.
    """
    import safetensors

    expected = "a .safetensors file"
    data = read_bytes(path, expected)
    try:
        entries = safetensors.deserialize(data)  # type: ignore[no-untyped-call]
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except (safetensors.SafetensorError, ValueError) as error:
        raise WeightsError(
            f"{path}: not a readable safetensors file ({error}); it may be truncated or of another kind"
        ) from error
    arrays: Weights = {}
    for name, entry in entries:
        known = _COUNTER_DTYPES if name.endswith(".num_batches_tracked") else _SAFETENSORS_DTYPES
        if entry["dtype"] not in known:
            raise WeightsError(f"{path}: {name} is {entry['dtype']}; expected F32 or F64")
        little = np.dtype(known[entry["dtype"]]).newbyteorder("<")
        array = np.frombuffer(entry["data"], little).reshape(entry["shape"])
        arrays[name] = array.astype(little.newbyteorder("="), copy=True)
    return arrays, header.get("__metadata__") or {}


def safetensors_bytes(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file of contiguous arrays. Equal content gives equal bytes."""
    import safetensors.numpy

    data = safetensors.numpy.save(dict(arrays), dict(metadata))
    # The library writes the metadata in hash order; here they are sorted.
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


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
