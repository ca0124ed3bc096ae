"""Graphs that PyTorch's exporters wrote of timm's networks: which network each is, and that it computes the logits.

`tests/referees/record_onnx.py` recorded them, with the logits that onnxruntime gives.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import resnet_numpy
from onnx_graphs import set_array
from resnet_core.conversion.graphs import GraphNetwork, read_graph
from resnet_core.errors import WeightsError
from resnet_core.numerics import relative_error
from resnet_onnx.state_dict import read_network

FOLDER = Path(__file__).parents[1] / "referees" / "onnx"
LOGITS = json.loads((FOLDER / "logits.json").read_text(encoding="utf-8"))["logits"]
SIZE = 64

#: {network: fields of its spec}; norms are folded unless they are of an image's own values.
FIELDS: dict[str, dict[str, Any]] = {
    "seresnet50": {"block": "bottleneck", "attention": "se", "attention_place": "last", "deploy": True},
    "seresnext50": {"attention": "se", "groups": 2, "width_per_group": 32},
    "seresnetaa50d": {"attention": "se", "antialias": "average", "shortcut_pool": "average", "stem_type": "deep"},
    "ecaresnet50t": {"attention": "eca", "stem_type": "tiered", "shortcut_pool": "average"},
    "resnetrs50": {"attention": "se", "stem_pool": "conv", "shortcut_pool": "average"},
    "resnetblur18": {"block": "basic", "antialias": "blur", "in_channels": 1, "shortcut_pool": "none"},
    "resnetblur50d": {"block": "bottleneck", "antialias": "blur", "shortcut_pool": "average"},
    **{name: {"activation": name} for name in ("relu6", "leaky_relu", "silu", "gelu", "gelu_tanh", "hardswish")},
    "maximum": {"head_pool": "max"},
    "both_pools": {"head_pool": "both"},
    "group_norm": {"norm": "group", "norm_groups": 2, "norm_epsilon": 1e-5, "deploy": False},
    "layer_norm": {"norm": "layer", "norm_epsilon": 1e-6},
    "pre_activation": {"norm": "group", "preactivation": True},
    "standardized": {"norm": "group", "preactivation": True},
}


#: The newer exporter standardizes small kernels itself.
STANDARDIZED = {"standardized.traced"}


def read(name: str, folder: Path = FOLDER) -> GraphNetwork:
    return read_graph(*read_network(folder / f"{name}.onnx"), None)


@pytest.mark.parametrize("name", LOGITS)
def test_its_network_is_known_and_computes_its_logits(name: str) -> None:
    found = read(name)
    fields = {
        "depths": (1, 1) if found.spec.preactivation else (1, 1, 1, 1),
        "classes": 5,
        **FIELDS[name.split(".")[0]],
    }
    assert {field: getattr(found.spec, field) for field in fields} == fields
    assert found.spec.standardize_weights == (name in STANDARDIZED)
    images = np.random.default_rng(0).standard_normal((1, found.spec.in_channels, SIZE, SIZE)).astype(np.float32)
    model = resnet_numpy.build(found.spec, weights=found.weights)
    logits = resnet_numpy.predict(model, np.moveaxis(images, 1, -1))
    assert relative_error(logits, np.array([LOGITS[name]])) < 1e-5


def test_every_recorded_graph_is_read() -> None:
    assert {path.stem for path in FOLDER.glob("*.onnx")} == LOGITS.keys()
    assert {name.split(".")[0] for name in LOGITS} == FIELDS.keys()


def _attribute(operator: str, key: str, value: Any) -> Any:
    """Another value of an attribute of the last node of that kind."""

    def change(proto: Any) -> None:
        node = [node for node in proto.graph.node if node.op_type == operator][-1]
        kept = [attribute for attribute in node.attribute if attribute.name != key]
        del node.attribute[:]
        node.attribute.extend([*kept, onnx.helper.make_attribute(key, value)])

    return change


def _filter(proto: Any) -> None:
    """Another blur in the last of the blocks."""
    name = [tensor.name for tensor in proto.graph.initializer if tensor.name.endswith("aa.filt")][-1]
    set_array(proto, name, lambda array: np.full_like(array, 1 / 9))


def _constant(value: float, other: float) -> Any:
    """Another number in place of a constant, wherever it is this one."""

    def change(proto: Any) -> None:
        for node in proto.graph.node:
            for attribute in node.attribute if node.op_type == "Constant" else []:
                array = numpy_helper.to_array(attribute.t)
                if array.size == 1 and np.isclose(array, value):
                    attribute.t.CopyFrom(numpy_helper.from_array(np.full_like(array, other)))

    return change


def _by_column(proto: Any) -> None:
    """The scale of the stem's first norm by the columns of the map."""
    name = next(node.input[1] for node in proto.graph.node if node.op_type == "Mul")
    set_array(proto, name, lambda array: np.ascontiguousarray(array.reshape(1, 1, -1)))


def _array_of(operator: str, change: Any) -> Any:
    """Another constant of the last node of that kind."""

    def changed(proto: Any) -> None:
        names = [tensor.name for tensor in proto.graph.initializer]
        node = [node for node in proto.graph.node if node.op_type == operator][-1]
        set_array(proto, next(name for name in node.input if name in names), change)

    return changed


def _shaped(*shape: int) -> Any:
    """Behind the norm of the stem's first convolution, a constant for the shape of the map."""

    def change(proto: Any) -> None:
        node = next(node for node in proto.graph.node if node.op_type == "Shape")
        proto.graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), node.output[0]))
        proto.graph.node.remove(node)

    return change


def test_the_shape_of_a_normalized_map_may_be_a_constant(tmp_path: Path) -> None:
    proto = onnx.load(FOLDER / "group_norm.traced.onnx")
    _shaped(1, 4, SIZE // 2, SIZE // 2)(proto)
    onnx.save(proto, tmp_path / "net.onnx")
    assert read("net", tmp_path).spec == read("group_norm.traced").spec


SLIPS: dict[str, tuple[str, Any, str]] = {
    "one GELU by tanh": ("gelu.exported", _attribute("Gelu", "approximate", "tanh"), "a gelu here, and gelu_tanh in"),
    "one exact GELU": ("gelu_tanh.exported", _attribute("Gelu", "approximate", "none"), "gelu_tanh here, and gelu in"),
    "another root in GELU": ("gelu.traced", _constant(2**0.5, 1.5), "its node /conv1/conv1.2/Div (Div)"),
    "another cube in GELU": ("gelu_tanh.traced", _constant(0.044715, 0.04), "its node /"),
    "another slope": (
        "leaky_relu.traced",
        _attribute("LeakyRelu", "alpha", 0.02),
        "slope is 0.01 here, and 0.02 in its",
    ),
    "a blur of other weights": ("resnetblur18.exported", _filter, "(Pad) is another padding than zeros"),
    "a blur that repeats the edge": (
        "resnetblur50d.exported",
        _attribute("Pad", "mode", "edge"),
        "(Pad) is another padding than zeros",
    ),
    "a gate over the height only": (
        "seresnet50.traced",
        _attribute("ReduceMean", "axes", [2]),
        "(ReduceMean) is no layer",
    ),
    "another epsilon": (
        "group_norm.traced",
        _attribute("InstanceNormalization", "epsilon", 1e-3),
        "epsilon is 1e-05 here, and 0.001 in its node",
    ),
    "another epsilon of a layer norm": (
        "layer_norm.traced",
        _attribute("LayerNormalization", "epsilon", 1e-3),
        "epsilon is 1e-06 here, and 0.001 in its node",
    ),
    "another epsilon of kernels": (
        "standardized.traced",
        _attribute("BatchNormalization", "epsilon", 1e-3),
        "standardize is 1e-08 here, and 0.001 in its node",
    ),
    "a scale by columns": ("group_norm.traced", _by_column, "its node /conv1/conv1.1/"),
    "a map turned around": (
        "group_norm.traced",
        _shaped(1, 4, 16, 64),
        "a map of [4, 32, 32] here, and [4, 16, 64] in",
    ),
    "means in another order": (
        "layer_norm.default",
        _array_of("Gather", lambda array: np.ascontiguousarray(array[:, ::-1])),
        "its node node_as_strided (Gather) is no layer",
    ),
    "means of an image that is twice there": (
        "layer_norm.exported",
        _array_of("Mul", lambda array: array - 1),
        "its node node_as_strided (Gather) is no layer",
    ),
    "a pool of a part": ("maximum.traced", _attribute("MaxPool", "kernel_shape", [1, 1]), "head.pool: the whole map"),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_one_other_number_is_refused_by_its_node(slip: str, tmp_path: Path) -> None:
    name, change, words = SLIPS[slip]
    proto = onnx.load(FOLDER / f"{name}.onnx")
    change(proto)
    onnx.save(proto, tmp_path / f"{name}.onnx")
    with pytest.raises(WeightsError) as error:
        read(name, tmp_path)
    assert words in str(error.value)
    assert "\n" not in str(error.value)
