"""safetensors files: tensors and metadata. Nothing is executed in reading; equal content is written as equal bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from resnet_core.errors import WeightsError
from resnet_core.fields import parse_json
from resnet_core.files import reading, replacing
from resnet_core.weights import Weights

#: A header is at most this long: tens of thousands of tensors, with a mean picture and the names of many classes.
MOST = 16 * 2**20

_DTYPES = {"F32": "float32", "F64": "float64"}
#: What is stored, and the float32 numbers that it means.
_HALVES: dict[str, tuple[np.dtype, Callable[[np.ndarray], np.ndarray]]] = {
    "F16": (np.dtype("<f2"), lambda stored: stored.astype(np.float32)),
    # bfloat16 is the upper half of a float32.
    "BF16": (np.dtype("<u2"), lambda stored: (stored.astype(np.uint32) << 16).view(np.float32)),
}
_COUNTER_DTYPES = {**_DTYPES, "I64": "int64"}
#: In which order the library writes tensors of several dtypes.
_ORDER = ("I64", "F64", "F32")


def digest(weights: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of names, dtypes, shapes and little-endian bytes, sorted by name."""
    total = hashlib.sha256()
    for name in sorted(weights):
        array = np.ascontiguousarray(weights[name])
        total.update(json.dumps([name, array.dtype.name, list(array.shape)]).encode())
        total.update(array.astype(array.dtype.newbyteorder("<"), copy=False).data)
    return total.hexdigest()


def read_safetensors(path: Path, *, widen: bool = False) -> tuple[Weights, dict[str, str]]:
    """({name: array}, metadata) of any safetensors file of float32 or float64 tensors; nothing is executed.

    With `widen`, float16 and bfloat16 are read too, as float32, which holds each of their values.

    PyTorch's counters, the only integers in a state_dict, are passed through; the caller decides about them. Raises
    WeightsError for any other file or dtype, InputError if it cannot be read.
    """
    with reading(path, "a .safetensors file") as file:
        entries = _header(path, file)
        metadata = entries.pop("__metadata__", None) or {}
        start = file.tell()
        return {name: _tensor(path, file, start, name, entry, widen) for name, entry in entries.items()}, metadata


def _header(path: Path, file: BinaryIO) -> dict[str, Any]:
    """What the library has found to be right: every byte belongs to exactly one tensor, of the size that is said."""
    import safetensors

    try:
        with safetensors.safe_open(str(path), framework="numpy"):  # type: ignore[no-untyped-call]
            found = _header_text(path, file)
    except (safetensors.SafetensorError, ValueError, RecursionError) as error:
        raise WeightsError(
            f"{path}: not a readable safetensors file ({error}); it may be truncated or of another kind"
            + ("" if path.suffix == ".safetensors" else " (read_weights reads PyTorch's files)")
        ) from error
    return found


def _header_text(path: Path, file: BinaryIO) -> dict[str, Any]:
    length = int.from_bytes(file.read(8), "little")
    if length > MOST:
        raise WeightsError(f"{path}: its header has {length:,} bytes; expected at most {MOST:,}")
    return parse_json(file.read(length).decode(), str(path), "tensors", WeightsError, most=MOST)


def _tensor(path: Path, file: BinaryIO, start: int, name: str, entry: Mapping[str, Any], widen: bool) -> np.ndarray:
    kind, shape = entry["dtype"], tuple(entry["shape"])
    known = _COUNTER_DTYPES if name.endswith(".num_batches_tracked") else _DTYPES
    half = widen and kind in _HALVES
    if not half and kind not in known:
        raise WeightsError(f"{path}: {name} is {kind}; expected F32 or F64")
    stored, widened = _HALVES[kind] if half else (np.dtype(known[kind]).newbyteorder("<"), None)
    file.seek(start + entry["data_offsets"][0])
    array = np.fromfile(file, stored, prod(shape))
    if array.size != prod(shape):
        raise WeightsError(f"{path}: {name} ends early; was the file changed while it was read?")
    return (widened(array) if widened else array.astype(stored.newbyteorder("="), copy=False)).reshape(shape)


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata alone, without reading a tensor; {} if there are none, or if it is no safetensors file."""
    try:
        with reading(path, "a .safetensors file") as file:
            metadata: Any = _header_text(path, file).get("__metadata__")
    except (OSError, ValueError):
        return {}
    whole = isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())
    return metadata if whole else {}


def write_safetensors(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file atomically, one tensor after another. Equal content gives equal bytes.

    They are those of safetensors' own writer but for two things: it has the metadata in another order each time, and
    everything in memory three times. Raises InputError if the file cannot be written.
    """
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.writelines(_parts(arrays, metadata))


def safetensors_bytes(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """What `write_safetensors` writes."""
    return b"".join(_parts(arrays, metadata))


def _parts(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> Iterator[bytes | memoryview]:
    kinds = {dtype: kind for kind, dtype in _COUNTER_DTYPES.items()}
    ordered = sorted(arrays, key=lambda name: (_ORDER.index(kinds[arrays[name].dtype.name]), name))
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    end = 0
    for name in ordered:
        start, end = end, end + arrays[name].nbytes
        kind, shape = kinds[arrays[name].dtype.name], list(arrays[name].shape)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for name in ordered:
        array = np.ascontiguousarray(arrays[name])
        yield array.astype(array.dtype.newbyteorder("<"), copy=False).reshape(-1).view(np.uint8).data
