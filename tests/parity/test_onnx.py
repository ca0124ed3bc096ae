"""ONNX graphs compute the network: in onnxruntime, in OpenVINO, and in float64 in ONNX's own reference."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import resnet_core as rn
import resnet_numpy
import resnet_onnx
from network_kinds import EVERY_NAME
from onnx_graphs import added_to_itself, node_of, set_attribute, without_relu
from resnet_core.comparison.narrow import narrowed
from resnet_core.numerics import relative_error
from resnet_core.tolerances import TOLERANCES
from resnet_onnx.model import OPSET

LIMITS = TOLERANCES["output"]
#: Height and width have different parity behind the stem too.
SIZE = (66, 52)

Outputs = Mapping[str, np.ndarray]


def images(spec: rn.ResNetSpec, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.random.default_rng(3).standard_normal((2, *size, spec.in_channels)).astype(np.float32)


def truth(spec: rn.ResNetSpec, weights: Outputs, size: tuple[int, int] = SIZE) -> dict[str, np.ndarray]:
    model = resnet_numpy.build(spec, weights=rn.cast(weights, "float64"), taps=rn.taps(spec), dtype="float64")
    return resnet_numpy.predict(model, images(spec, size).astype(np.float64))


def error(found: Outputs, expected: Outputs) -> float:
    return max(relative_error(found[tap], true) for tap, true in expected.items())


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", EVERY_NAME)
def test_every_tap_equals_the_reference(name: str, dtype: str) -> None:
    for spec in (narrowed(rn.spec(name)), narrowed(rn.spec(name, deploy=True))):
        weights = rn.probe_weights(spec, 0, dtype)
        model = resnet_onnx.build(spec, weights=weights, taps=rn.taps(spec), dtype=dtype)
        onnx.checker.check_model(model.proto, full_check=True)
        assert error(resnet_onnx.predict(model, images(spec).astype(dtype)), truth(spec, weights)) < LIMITS[dtype]


@pytest.mark.long
@pytest.mark.parametrize("name", rn.names())
def test_openvino_computes_the_same(name: str) -> None:
    openvino = pytest.importorskip("openvino", reason="openvino is not installed")
    spec = narrowed(rn.spec(name))
    weights = rn.probe_weights(spec)
    model = resnet_onnx.build(spec, weights=weights, taps=rn.taps(spec))
    core = openvino.Core()
    precise = {"INFERENCE_PRECISION_HINT": "f32"}
    graph = core.compile_model(core.read_model(model.proto.SerializeToString()), "CPU", precise)
    found = graph([np.ascontiguousarray(images(spec).transpose(0, 3, 1, 2))])
    outputs = [np.moveaxis(found[index], 1, -1) for index in range(len(model.taps))]
    assert error(dict(zip(model.taps, outputs, strict=True)), truth(spec, weights)) < LIMITS["float32"]


@pytest.mark.long
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet_v2_50", "resnext50_32x4d", "seresnet50", "resnet50d"])
def test_at_full_width(name: str) -> None:
    spec = rn.spec(name)
    weights = rn.probe_weights(spec)
    model = resnet_onnx.build(spec, weights=weights, taps=rn.taps(spec))
    assert error(resnet_onnx.predict(model, images(spec)), truth(spec, weights)) < LIMITS["float32"]


def test_one_graph_takes_any_batch_and_size(tmp_path: Path) -> None:
    spec = narrowed(rn.spec("resnet_v2_50"))  # TensorFlow's paddings, which depend on the size
    weights = rn.probe_weights(spec)
    model = resnet_onnx.build(spec, weights=weights, taps=rn.taps(spec))
    for size in ((64, 64), (65, 50), (33, 48)):
        assert error(resnet_onnx.predict(model, images(spec, size)), truth(spec, weights, size)) < LIMITS["float32"]
    model.save(tmp_path / "net.onnx")
    loaded = onnx.load(tmp_path / "net.onnx")
    assert [(entry.domain, entry.version) for entry in loaded.opset_import] == [("", OPSET)]
    assert set(rn.state(spec)) < {tensor.name for tensor in loaded.graph.initializer}


# What a slip in a graph makes: each changes one thing, in place.


def _transposed(proto: Any) -> None:
    for tensor in proto.graph.initializer:
        if tensor.name == "stage2.block2.conv1.weight":
            array = numpy_helper.to_array(tensor).transpose(0, 1, 3, 2)
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))


def _swapped(proto: Any) -> None:
    node = node_of(proto, "stage1.block1.norm1")
    node.input[1], node.input[4] = node.input[4], node.input[1]


DEFECTS: dict[str, Callable[[Any], None]] = {
    "padding before and behind": lambda proto: set_attribute(proto, "stage2.block1.conv1", "pads", [0, 0, 2, 2]),
    "a stem pool padded like TensorFlow's": lambda proto: set_attribute(proto, "stem.pool", "pads", [0, 0, 1, 1]),
    "another epsilon": lambda proto: set_attribute(proto, "stage1.block1.norm1", "epsilon", 1e-3),
    "no ReLU": without_relu,
    "a transposed kernel": _transposed,
    "scale and variance swapped": _swapped,
    "the body added to itself": added_to_itself,
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_slip_in_the_graph_is_seen(defect: str) -> None:
    spec = rn.spec("resnet18", channels=(4, 6, 8, 10), depths=(1, 2, 1, 1), classes=5)
    weights = rn.probe_weights(spec)
    expected = truth(spec, weights)
    model = resnet_onnx.build(spec, weights=weights, taps=rn.taps(spec))
    assert error(resnet_onnx.predict(model, images(spec)), expected) < LIMITS["float32"]
    DEFECTS[defect](model.proto)
    vars(model).pop("session")
    found = error(resnet_onnx.predict(model, images(spec)), expected)
    assert found > LIMITS["float32"]


def test_a_copy_has_weights_of_its_own() -> None:
    spec = rn.spec("resnet20", depths=(1,), channels=(2,), classes=2)
    model = resnet_onnx.build(spec, weights=rn.probe_weights(spec))
    before = resnet_onnx.predict(model, images(spec))
    twin = pickle.loads(pickle.dumps(copy.deepcopy(model)))  # without the session, which cannot be copied
    resnet_onnx.set_weights(twin, rn.probe_weights(spec, 1))
    assert np.array_equal(resnet_onnx.predict(model, images(spec)), before)
    assert relative_error(resnet_onnx.predict(twin, images(spec)), before) > 1e-3


def test_a_tensor_beyond_what_a_message_holds_is_refused() -> None:
    spec = rn.spec("resnet18", channels=(1, 1, 1, 8_000), depths=(1, 1, 1, 1), classes=1)
    weights = {name: np.broadcast_to(np.float32(1), shape) for name, shape in rn.state(spec).items()}  # takes no memory
    with pytest.raises(rn.InputError, match=r"^backend onnx: stage4.block1.conv2.weight has 2.1 GiB, and a tensor of"):
        resnet_onnx.build(spec, weights=weights)


@pytest.mark.long
def test_more_than_two_gib_are_written_and_run(tmp_path: Path) -> None:
    spec = rn.spec("resnet18", channels=(1, 1, 1, 4_600), depths=(1, 1, 1, 2), classes=1)
    weights = {name: np.broadcast_to(np.float32(0.001), shape) for name, shape in rn.state(spec).items()}
    given = np.random.default_rng(3).standard_normal((1, 32, 32, 3)).astype(np.float32)
    model = resnet_onnx.build(spec, weights=weights)
    model.save(tmp_path / "net.onnx")
    assert (tmp_path / "net.onnx").stat().st_size < 2**20
    assert (tmp_path / "net.onnx.data").stat().st_size > 2**31
    del model
    _, found = resnet_onnx.run_network(tmp_path / "net.onnx", given)
    expected = resnet_numpy.predict(resnet_numpy.build(spec, weights=weights), given)
    assert relative_error(found, expected) < LIMITS["float32"]
