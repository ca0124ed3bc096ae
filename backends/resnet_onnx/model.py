"""From spec to ONNX graph."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from resnet_core.analysis import state
from resnet_core.architecture import layer_tree
from resnet_core.errors import InputError
from resnet_core.inputs import starting_weights
from resnet_core.specification import ResNetSpec
from resnet_core.tap_paths import Record, tap_names, tap_nodes
from resnet_core.tree import Chain
from resnet_core.weights import check_weights, require_dtype
from resnet_onnx import external_data, runtime
from resnet_onnx.graph import Graph, Value
from resnet_onnx.lowering import lower

#: The newest operators' version that is used, and the file format's; onnxruntime reads both from 1.18 on.
OPSET, IR_VERSION = 21, 10

#: What the graph calls its input, (batch, channels, height, width).
INPUT = "images"


class ResNet:
    """An ONNX model, `proto`, and the session that runs it.

    Its outputs are the logits or features, or the taps that it was built with.
    """

    def __init__(self, tree: Chain, channels: int, taps: tuple[str, ...], dtype: str) -> None:
        self.tree, self.channels, self.dtype = tree, channels, dtype
        self.taps = tap_nodes(tree, taps)
        self.proto = graph_of(tree, channels, self.taps, dtype)

    def save(self, path: str | Path) -> None:
        """Write the graph and its weights to an .onnx file; from 2 GiB on, the weights to one beside it, .onnx.data."""
        external_data.save_model(self.proto, Path(path))

    @cached_property
    def session(self) -> Any:
        """What runs the graph, for the weights that it has now: onnxruntime, in float64 ONNX's own reference."""
        if self.dtype == "float64":
            from onnx.reference import ReferenceEvaluator

            return ReferenceEvaluator(self.proto)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if external_data.fits(self.proto):
            return onnxruntime.InferenceSession(self.proto.SerializeToString(), options, providers=runtime.providers)
        with TemporaryDirectory(prefix="resnet-", ignore_cleanup_errors=True) as folder:
            self.save(path := Path(folder) / "net.onnx")
            return onnxruntime.InferenceSession(str(path), options, providers=runtime.providers)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "session"}


def build(
    spec: ResNetSpec,
    *,
    weights: Mapping[str, np.ndarray] | None = None,
    seed: int = 0,
    taps: tuple[str, ...] = (),
    dtype: str | None = None,
) -> ResNet:
    """`build_tree` on the spec's layer tree."""
    weights = starting_weights(spec, weights, seed, dtype)
    return build_tree(layer_tree(spec), channels=spec.in_channels, weights=weights, taps=taps, dtype=dtype)


def build_tree(
    tree: Chain,
    *,
    channels: int,
    weights: Mapping[str, np.ndarray],
    taps: tuple[str, ...] = (),
    dtype: str | None = None,
) -> ResNet:
    """A model whose initializers hold the weights."""
    dtype = require_dtype(dtype or "float32")
    for name, shape in state(tree).items():
        if (size := prod(shape) * np.dtype(dtype).itemsize) >= external_data.MOST:
            raise InputError(f"backend onnx: {name} has {size / 2**30:.1f} GiB, and a tensor of a graph ends at 2 GiB")
    checked = check_weights(weights, state(tree), dtype)
    model = ResNet(tree, channels, taps, dtype)
    model.proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in checked.items())
    return model


def graph_of(
    tree: Chain, channels: int, taps: Mapping[str, str] | None = None, dtype: str = "float32"
) -> onnx.ModelProto:
    """The graph of a tree without its weights: the initializers are only its constants.

    `taps` is {tap: path in the tree}; without any, the output is the last child's.
    """
    taps = taps or {}
    graph, record = Graph(dtype), Record(taps.values())
    output = lower(tree, Value(graph, INPUT), "", graph, record)
    named = {tap: record.outputs[path] for tap, path in taps.items()} or {list(tap_names(tree))[-1]: output}
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    outputs = []
    for name, value in named.items():
        graph.nodes.append(helper.make_node("Identity", [value.name], [f"output.{name}"], name=f"output.{name}"))
        outputs.append(helper.make_tensor_value_info(f"output.{name}", kind, ["batch", *([None] * (value.rank - 1))]))
    images = helper.make_tensor_value_info(INPUT, kind, ["batch", channels, "height", "width"])
    constants = [numpy_helper.from_array(array, name) for name, array in graph.constants.items()]
    body = helper.make_graph(graph.nodes, "ResNet", [images], outputs, constants)
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(body, opset_imports=opsets, ir_version=IR_VERSION, producer_name="resnet-core")
