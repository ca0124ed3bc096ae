"""Tensors beside an ONNX graph, in files of its own folder: a network of two GiB and more has its weights there."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator
from math import prod
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import NamedTuple

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, TensorProto, helper

from resnet_core.errors import WeightsError, printable

#: Bytes of weights from which on they lie beside the graph: a protobuf file ends at 2 GiB, and the nodes need a few.
MOST = 2**31 - 2**20

#: Tensors of fewer bytes stay in the graph, as onnx has it; where a page begins the others can be mapped into memory.
_LEAST, _PAGE = 1024, 4096


class Place(NamedTuple):
    """Where a tensor's values lie: `count` numbers of `dtype` from byte `offset` of `file` on."""

    file: Path
    offset: int
    dtype: np.dtype
    shape: tuple[int, ...]

    def read(self) -> np.ndarray:
        """The values."""
        with self.file.open("rb") as file:
            file.seek(self.offset)
            stored = np.fromfile(file, self.dtype, prod(self.shape))
        return stored.reshape(self.shape)


class Beside:
    """The files beside a graph, and which parts of them are taken: no byte is two tensors'."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._taken: dict[Path, list[tuple[int, int]]] = {}

    @property
    def files(self) -> list[Path]:
        """Those in which a tensor was."""
        return sorted(self._taken)

    def place(self, tensor: TensorProto) -> Place:
        """Where a tensor is. Raises WeightsError, one line, where that is no part of a file in the graph's folder.

        Nothing is allocated for what the files do not have, however often and however large the graph says that it is.
        """
        name = printable(f"{self._path}: {tensor.name or 'a tensor'}")
        about = {entry.key: entry.value for entry in tensor.external_data}
        file = _file(name, self._path.parent, about.get("location", ""))
        size = file.stat().st_size
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
        needed = prod(tensor.dims) * dtype.itemsize
        offset = _number(name, "offset", about.get("offset", "0"))
        length = _number(name, "length", about.get("length", str(max(0, size - offset))))
        if min(tensor.dims, default=0) < 0 or length != needed:
            raise WeightsError(f"{name} has {length} bytes in {file.name}, and {needed} by its shape {[*tensor.dims]}")
        if offset + length > size:
            raise WeightsError(f"{name} ends at byte {offset + length} of {file.name}, which has {size}; is it whole?")
        if not _take(self._taken.setdefault(file, []), offset, offset + length):
            raise WeightsError(f"{name} has bytes of {file.name} that another tensor has too; is the graph damaged?")
        return Place(file, offset, dtype.newbyteorder("<"), tuple(tensor.dims))


def _take(taken: list[tuple[int, int]], start: int, end: int) -> bool:
    """Add a part of a file to those that are taken, in order; False, and nothing is added, where one overlaps it."""
    place = bisect(taken, (start, end))
    near = taken[max(0, place - 1) : place + 1]
    if any(first < end and start < last for first, last in near):
        return False
    if start < end:
        taken.insert(place, (start, end))
    return True


def _file(name: str, folder: Path, location: str) -> Path:
    """The file at a location, which is a path inside the folder on every system."""
    kinds: tuple[PurePath, ...] = (PurePosixPath(location), PureWindowsPath(location))
    shown = printable(location)
    if not location or "\0" in location or any(each.anchor or ".." in each.parts for each in kinds):
        raise WeightsError(f"{name} lies at {shown!r}; expected a file in the graph's own folder")
    file = folder / location
    try:
        real = file.resolve(strict=True)
    except (OSError, RuntimeError) as error:  # also a link to itself
        raise WeightsError(f"{name} lies in {shown}, which is not there; it belongs beside the graph") from error
    if not real.is_relative_to(folder.resolve()):
        raise WeightsError(f"{name} lies in {shown}, a link that leads out of the graph's folder; it is not opened")
    if not real.is_file():
        raise WeightsError(f"{name} lies in {shown}, which is no regular file")
    return file


def _number(name: str, what: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise WeightsError(f"{name} has the {what} {printable(text)[:40]!r}; expected a whole number of bytes")
    return int(text)


def is_beside(tensor: TensorProto) -> bool:
    """Whether a tensor's values are in another file."""
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def tensors_of(graph: GraphProto) -> Iterator[TensorProto]:
    """Every tensor of a graph: its initializers, and those that are attributes of its nodes."""
    yield from graph.initializer
    for node in graph.node:
        yield from (attribute.t for attribute in node.attribute if attribute.HasField("t"))


def fits(proto: ModelProto) -> bool:
    """Whether a model with its weights is one message of protobuf's, or one file."""
    return sum(_size(tensor) for tensor in proto.graph.initializer) < MOST


def save_model(proto: ModelProto, path: Path) -> None:
    """Write a model; one that does not fit has its weights in a file beside it, `NAME.onnx.data`."""
    if fits(proto):
        onnx.save_model(proto, str(path))
        return
    graph = _without_weights(proto)
    with path.with_name(f"{path.name}.data").open("wb") as file:
        for tensor in proto.graph.initializer:
            if _size(tensor) < _LEAST:
                graph.graph.initializer.append(tensor)
                continue
            file.write(bytes(-file.tell() % _PAGE))
            there = graph.graph.initializer.add(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
            there.data_location = TensorProto.EXTERNAL
            about = {"location": f"{path.name}.data", "offset": file.tell(), "length": _size(tensor)}
            for key, value in about.items():
                there.external_data.add(key=key, value=str(value))
            file.write(tensor.raw_data)
    onnx.save_model(graph, str(path))


def _size(tensor: TensorProto) -> int:
    return int(prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def _without_weights(proto: ModelProto) -> ModelProto:
    """A copy of all but the initializers, which may be more than a message holds."""
    copy = ModelProto()
    for source, target in ((proto, copy), (proto.graph, copy.graph)):
        for field, value in source.ListFields():
            if field.name in ("graph", "initializer"):
                continue
            if isinstance(value, str | int):
                setattr(target, field.name, value)
            else:
                getattr(target, field.name).MergeFrom(value)
    return copy
