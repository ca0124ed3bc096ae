"""safetensors files: tensors and metadata. Nothing is executed in reading; equal content is written as equal bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from resnet_core.errors import WeightsError
from resnet_core.files import read_bytes
from resnet_core.weights import Weights

#: A header is at most this long, as in safetensors itself.
MOST = 100_000_000

_DTYPES = {"F32": "float32", "F64": "float64"}
_HALVES = {
    "F16": lambda data: np.frombuffer(data, "<f2").astype(np.float32),
    # bfloat16 is the upper half of a float32.
    "BF16": lambda data: (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32),
}
_COUNTER_DTYPES = {**_DTYPES, "I64": "int64"}


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
    import safetensors

    expected = "a .safetensors file"
    data = read_bytes(path, expected)
    try:
        entries = safetensors.deserialize(data)  # type: ignore[no-untyped-call]
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except (safetensors.SafetensorError, ValueError) as error:
        raise WeightsError(
            f"{path}: not a readable safetensors file ({error}); it may be truncated or of another kind"
            + ("" if path.suffix == ".safetensors" else " (read_weights reads PyTorch's files)")
        ) from error
    arrays: Weights = {}
    for name, entry in entries:
        known = _COUNTER_DTYPES if name.endswith(".num_batches_tracked") else _DTYPES
        if widen and entry["dtype"] in _HALVES:
            arrays[name] = _HALVES[entry["dtype"]](entry["data"]).reshape(entry["shape"])
            continue
        if entry["dtype"] not in known:
            raise WeightsError(f"{path}: {name} is {entry['dtype']}; expected F32 or F64")
        little = np.dtype(known[entry["dtype"]]).newbyteorder("<")
        array = np.frombuffer(entry["data"], little).reshape(entry["shape"])
        arrays[name] = array.astype(little.newbyteorder("="), copy=True)
    return arrays, header.get("__metadata__") or {}


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata alone, without reading a tensor; {} if there are none, or if it is no safetensors file."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            found = json.loads(file.read(length)) if length <= MOST else {}
    except (OSError, ValueError, RecursionError):
        return {}
    metadata = found.get("__metadata__") if isinstance(found, dict) else None
    return metadata if isinstance(metadata, dict) else {}


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
