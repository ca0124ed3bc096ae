"""ONNX' own files: a graph with its weights, this project's and anyone's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from resnet_core.architecture import layer_tree
from resnet_core.errors import WeightsError
from resnet_core.specification import from_fields
from resnet_onnx.external_data import Beside, is_beside, tensors_of
from resnet_onnx.model import build, graph_of

_NUMBERS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)
_COUNTS = (TensorProto.INT64, TensorProto.INT32)

#: What a graph of a ResNet has at most; resnet1202 has 3,600 nodes.
MOST_NODES = 100_000


def write_network(path: Path, spec: dict[str, Any], arrays: Mapping[str, np.ndarray], about: Mapping[str, str]) -> None:
    """The graph of a spec, given as its fields, with these weights, and `about` as its metadata."""
    model = build(from_fields(spec), weights=arrays)
    helper.set_model_props(model.proto, dict(about))
    model.save(path)


def read_network(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(what the graph is, {name: array} of its weights and constants). Executes nothing.

    The graph is {"about": metadata, "inputs": [[name, shape]], "outputs": [name], "nodes": [[operator, name, inputs,
    outputs, attributes]]} with unknown lengths as None. float16 and bfloat16 become float32. Raises WeightsError for
    what is no such file, and for one whose weights are not in it or in its folder.
    """
    with _refused(path):
        return _read(path, _graph_in(path))


def network_files(path: Path) -> list[Path]:
    """The files beside a graph in which its weights are. Raises WeightsError as `read_network` does."""
    with _refused(path):
        beside = Beside(path)
        for tensor in filter(is_beside, tensors_of(_graph_in(path).graph)):
            if tensor.data_type in (*_NUMBERS, *_COUNTS):
                beside.place(tensor)
        return beside.files


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    try:
        yield
    except WeightsError:
        raise
    except Exception as error:  # protobuf and NumPy raise errors of their own
        raise WeightsError(f"{path}: cannot be read as ONNX; the file is damaged or of another kind") from error


def _graph_in(path: Path) -> onnx.ModelProto:
    """The graph, without what is in other files."""
    if (size := path.stat().st_size) >= 2**31:
        raise WeightsError(f"{path}: has {size / 2**30:.1f} GiB, and a graph ends at 2 GiB, with its weights beside it")
    return onnx.load_model_from_string(path.read_bytes())


def _read(path: Path, proto: onnx.ModelProto) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    graph = proto.graph
    if not graph.node or not graph.output:
        raise WeightsError(f"{path}: cannot be read as ONNX; it has no graph")
    if len(graph.node) > MOST_NODES or any(_subgraphs(node) for node in graph.node):
        raise WeightsError(f"{path}: has {len(graph.node)} nodes or branches; expected the graph of a ResNet")
    beside = Beside(path)
    arrays = {tensor.name: _array(beside, tensor) for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        attributes = {attribute.name: _attribute(beside, attribute) for attribute in node.attribute}
        if node.op_type == "Constant":
            arrays[node.output[0]] = np.asarray(next(iter(attributes.values()), 0))
            continue
        plain = {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in attributes.items()}
        nodes.append([node.op_type, node.name, list(node.input), list(node.output), plain])
    inputs = [[value.name, _shape(value)] for value in graph.input if value.name not in arrays]
    about = {entry.key: entry.value for entry in proto.metadata_props}
    found = {"about": about, "inputs": inputs, "outputs": [value.name for value in graph.output], "nodes": nodes}
    return found, {name: array for name, array in arrays.items() if array is not None}


def is_network_of(path: Path, spec: dict[str, Any]) -> bool:
    """Whether the file's graph is the one that this package writes for the spec, whatever its weights."""
    proto = _graph_in(path)
    network = from_fields(spec)
    own = graph_of(layer_tree(network), network.in_channels)
    return list(proto.graph.node) == list(own.graph.node) and _constants(own) <= _constants(proto)


def run_network(path: Path, images: np.ndarray) -> tuple[str, np.ndarray]:
    """(what ran, the first output) of a graph for images (batch, height, width, channels), in onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    native = images if given.shape[-1] == images.shape[-1] else images.transpose(0, 3, 1, 2)
    native = np.ascontiguousarray(native, np.float32)
    each = given.shape[0] if isinstance(given.shape[0], int) else len(native)
    output = session.get_outputs()[0].name
    parts = [native[start : start + each] for start in range(0, len(native), each)]
    found = np.concatenate([session.run([output], {given.name: part})[0] for part in parts])
    return f"onnxruntime {onnxruntime.__version__} in {found.dtype}", found


def _constants(proto: onnx.ModelProto) -> set[bytes]:
    kinds = (tensor for tensor in proto.graph.initializer if " " in tensor.name)
    return {tensor.name.encode() + tensor.SerializeToString() for tensor in kinds}


def _subgraphs(node: onnx.NodeProto) -> bool:
    return any(attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for attribute in node.attribute)


def _attribute(beside: Beside, attribute: AttributeProto) -> Any:
    if attribute.type == AttributeProto.TENSOR:
        return _array(beside, attribute.t)
    value = helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return list(value) if attribute.type in (AttributeProto.INTS, AttributeProto.FLOATS) else value


def _array(beside: Beside, tensor: TensorProto) -> np.ndarray | None:
    """The values, half precision widened; None for what no ResNet has, such as texts."""
    if tensor.data_type not in (*_NUMBERS, *_COUNTS):
        return None
    array = beside.place(tensor).read() if is_beside(tensor) else numpy_helper.to_array(tensor)
    return array.astype(np.float32) if tensor.data_type in (TensorProto.FLOAT16, TensorProto.BFLOAT16) else array


def _shape(value: onnx.ValueInfoProto) -> list[int | None]:
    dimensions = value.type.tensor_type.shape.dim
    return [size.dim_value if size.HasField("dim_value") else None for size in dimensions]
