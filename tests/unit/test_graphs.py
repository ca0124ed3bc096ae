"""ONNX graphs are known by their nodes: which network, each tensor, and every number; a slip is refused by the node."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import resnet_core as rn
import resnet_numpy
import resnet_onnx
from network_kinds import KINDS
from onnx_graphs import (
    added_to_itself,
    node_of,
    set_array,
    set_attribute,
    set_operator,
    with_early_gate,
    without_relu,
)
from resnet_core.architecture import layer_tree
from resnet_core.comparison.narrow import narrowed
from resnet_core.conversion.certificate import certify
from resnet_core.conversion.convert import convert
from resnet_core.conversion.graphs import GraphNetwork, read_graph
from resnet_core.conversion.read import import_weights
from resnet_core.errors import InputError, WeightsError
from resnet_core.folding import standardized
from resnet_core.weights import check_weights
from resnet_onnx.state_dict import read_network

NARROW = rn.spec("resnet18", channels=(4, 6, 8, 10), depths=(1, 2, 1, 1), classes=5)
GATED = rn.spec(NARROW, block="bottleneck", channels=(8, 8, 8, 10), attention="se", activation="gelu")
BLURRED = rn.spec(NARROW, antialias="blur", attention="eca", activation="leaky_relu")
GROUPED = rn.spec(NARROW, norm="group", norm_groups=2, activation="hardswish", standardize_weights=True)
AVERAGED = rn.spec(NARROW, antialias="average", head_pool="both", activation="relu6")


def written(folder: Path, spec: rn.ResNetSpec, change: Callable[[Any], None] = lambda proto: None) -> Path:
    """The graph of a spec as anyone could have written it: without metadata."""
    model = resnet_onnx.build(spec, weights=rn.probe_weights(spec))
    change(model.proto)
    (folder / "net.onnx").write_bytes(model.proto.SerializeToString())
    return folder / "net.onnx"


def read(path: Path, spec: rn.ResNetSpec | None = None) -> GraphNetwork:
    return read_graph(*read_network(path), spec)


@pytest.mark.parametrize("deploy", [False, True])
@pytest.mark.parametrize("name", [*KINDS, "wide_resnet50_2", "keras_resnet50_v2"])
def test_the_network_is_known_by_its_nodes(name: str, deploy: bool, tmp_path: Path) -> None:
    is_known(narrowed(rn.spec(name, deploy=deploy)), tmp_path)


def is_known(spec: rn.ResNetSpec, folder: Path) -> None:
    found = read(written(folder, spec))
    own = rn.spec(found.spec, norm_decay=spec.norm_decay)  # only in training
    assert layer_tree(own) == layer_tree(spec)
    weights = rn.probe_weights(spec)
    assert found.weights.keys() == weights.keys()
    assert all(np.array_equal(found.weights[name], array) for name, array in weights.items())


#: What no network of the zoo has, or none of its kinds.
FIELDS: tuple[dict[str, Any], ...] = (
    *({"activation": activation} for activation in ("relu6", "leaky_relu", "gelu", "gelu_tanh", "hardswish", "none")),
    {"norm": "layer"},
    {"norm": "group", "norm_group_channels": 2, "preactivation": True},
    {"head_pool": "max"},
    {"head_pool": "both", "head_channels": 7},
    {"global_pool": False, "head_bias": False},
    {"classes": None, "global_pool": False},
    {"stem": False, "preactivation": True},
    {"stem_type": "deep", "stem_pool": "conv", "antialias": "blur"},
    {"block": "bottleneck", "attention": "eca", "attention_place": "inner"},
    {"attention": "se", "attention_ratio": 0.3, "attention_divisor": 1, "preactivation": True},
    {"block": "bottleneck", "antialias": "average", "stride_on": "1x1"},
    {"shortcut_pool": "blur", "shortcut_norm": False},
    {"standardize_weights": True, "conv_bias": ("stem", "inner", "last", "shortcut")},
    {"block": "bottleneck", "shortcut": "none", "attention": "se"},
    {"shortcut": "none", "stem_type": "deep", "preactivation": True},
    {"channels": (8, 8, 8), "expansion": 2},
)


@pytest.mark.parametrize("deploy", [False, True])
@pytest.mark.parametrize("fields", FIELDS, ids=str)
def test_every_field_is_known_by_the_nodes(fields: dict[str, Any], deploy: bool, tmp_path: Path) -> None:
    usual = {"depths": (1, 2, 1), "channels": (8, 12, 16), "block": "basic", "classes": 5}
    is_known(rn.ResNetSpec(**{**usual, **fields}, deploy=deploy), tmp_path)


#: What a graph does not show: what is built, and what is read instead, which computes the same.
UNSEEN: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "statistics that never change": ({"norm": "frozen"}, {"norm": "batch"}),
    "whether norms were folded or there were none": ({"norm": "none"}, {"norm": "batch", "deploy": True}),
    "what only training has": ({"dropout": 0.1, "drop_path": 0.1}, {"dropout": 0, "drop_path": 0}),
    "the decay of the statistics": ({"norm_decay": 0.95}, {"norm_decay": 0.9}),
    "where stages of the same width end": (
        {"channels": (4, 4, 4, 4), "stride_unit": "last"},
        {"depths": (2, 1, 2), "stride_unit": "first"},
    ),
    "where blocks without shortcuts and a pool begin": (
        {"shortcut": "none", "stem_pool": "none", "preactivation": True},
        {"preactivation": False},
    ),
}


@pytest.mark.parametrize("what", UNSEEN)
def test_what_a_graph_does_not_show_computes_the_same(what: str, tmp_path: Path) -> None:
    built, fields = UNSEEN[what]
    spec = rn.spec(NARROW, **built)
    found = read(written(tmp_path, spec))
    assert {name: getattr(found.spec, name) for name in fields} == fields
    images = np.random.default_rng(0).standard_normal((1, 64, 48, 3))
    models = (
        resnet_numpy.build(spec, weights=rn.probe_weights(spec)),
        resnet_numpy.build(found.spec, weights=found.weights),
    )
    own, there = (resnet_numpy.predict(model, images) for model in models)
    assert np.array_equal(own, there)


def test_kernels_that_an_exporter_standardized_are_read_beside_others(tmp_path: Path) -> None:
    """PyTorch's newer one does so up to a size."""
    weights = rn.probe_weights(GROUPED)
    name, kernel = "stage1.block1.conv1.weight", weights["stage1.block1.conv1.weight"]

    def folded(proto: Any) -> None:
        set_array(proto, name, lambda array: standardized(array, 1e-8).astype(np.float32))
        node = next(node for node in proto.graph.node if node.op_type == "Conv" and node.input[1].startswith(name[:-7]))
        node.input[1] = name

    found = read(written(tmp_path, GROUPED, folded))
    assert layer_tree(found.spec) == layer_tree(rn.spec(GROUPED, standardize_weights=False))
    expected = {path: standardized(array, 1e-8) if array.ndim == 4 else array for path, array in weights.items()}
    assert all(np.allclose(found.weights[path], array, rtol=0, atol=1e-6) for path, array in expected.items())
    assert not np.allclose(kernel, expected[name])


DENSE: tuple[dict[str, Any], ...] = (
    {"block": "basic"},
    {"block": "bottleneck"},
    {"block": "bottleneck", "stride_on": "1x1"},
    {"block": "basic", "stride_unit": "last"},
    {"block": "bottleneck", "stride_unit": "last", "preactivation": True},
    {"block": "bottleneck", "shortcut_kernel": 3},
    {"block": "basic", "deploy": True},
)


@pytest.mark.parametrize("output_stride", [4, 8, 16])
@pytest.mark.parametrize("kind", DENSE, ids=str)
def test_an_output_stride_is_known_by_the_dilation(kind: dict[str, Any], output_stride: int, tmp_path: Path) -> None:
    shape = {"channels": (4, 8, 12, 16), "depths": (1, 2, 1, 2), "output_stride": output_stride}
    spec = rn.spec(NARROW, **shape, **kind)
    is_known(spec, tmp_path)
    assert read(tmp_path / "net.onnx").spec.output_stride == output_stride


def test_a_convolution_with_another_dilation_than_the_rest_is_refused(tmp_path: Path) -> None:
    spec = rn.spec(NARROW, depths=(1, 2, 1, 2), output_stride=8)

    def change(proto: Any) -> None:
        set_attribute(proto, "stage4.block2.conv2", "dilations", [2, 2])
        set_attribute(proto, "stage4.block2.conv2", "pads", [2, 2, 2, 2])

    with pytest.raises(WeightsError, match=re.escape("stage4.block2.conv2: dilation is (4, 4) here, and (2, 2)")):
        read(written(tmp_path, spec, change))


@pytest.mark.parametrize(
    "kind", [{"shortcut_pool": "average"}, {"shortcut_pool": "blur"}, {"antialias": "average"}, {"antialias": "blur"}],
    ids=str,
)  # fmt: skip
def test_a_dilated_pool_is_refused_by_its_node(kind: dict[str, Any], tmp_path: Path) -> None:
    spec = rn.spec(NARROW, depths=(1, 2, 1, 2), output_stride=8, **kind)
    words = r"^its node \S+\.\S*pool\S* \(\w+\) is the third that reads \S+, as a dilated pool's parts do"
    with pytest.raises(WeightsError, match=words) as refused:
        read(written(tmp_path, spec))
    assert "\n" not in str(refused.value)
    is_known(rn.spec(spec, output_stride=None), tmp_path)  # the pool itself is read


def test_the_attribute_of_a_dilated_pool_is_refused_by_its_node(tmp_path: Path) -> None:
    words = r"^its node stem\.pool \(MaxPool\) is a dilated pool \(dilations = \[2, 2\]\): no ResNet"
    with pytest.raises(WeightsError, match=words):
        read(written(tmp_path, NARROW, lambda proto: set_attribute(proto, "stem.pool", "dilations", [2, 2])))


def test_convert_says_what_the_dilation_shows(tmp_path: Path) -> None:
    done = convert(written(tmp_path, rn.spec(NARROW, output_stride=16)), tmp_path / "w.safetensors")
    assert "  by the dilation of its convolutions: output_stride = 16" in done.told()
    assert done.source.spec.output_stride == 16
    usual = convert(written(tmp_path, NARROW), tmp_path / "w.safetensors")
    assert not any("dilation" in line for line in usual.told())


def test_a_published_network_has_its_name(tmp_path: Path) -> None:
    assert read(written(tmp_path, rn.spec("keras_resnet50_v2", classes=3))).spec.name == "keras_resnet50_v2"
    assert read(written(tmp_path, rn.spec("resnet18", classes=3, deploy=True))).spec.name == "resnet18"


def test_a_given_spec_has_to_be_the_graphs(tmp_path: Path) -> None:
    path = written(tmp_path, NARROW)
    assert read(path, NARROW).spec == NARROW
    for fields, words in (
        ({"norm_epsilon": 1e-3}, "stem.norm: epsilon is 0.001 here, and 1e-05 in its node stem.norm"),
        ({"stem_pool_padding": "same"}, "stem.pool: padding is"),
        ({"stem_stride": 1}, "stem.conv: stride is (1, 1) here, and (2, 2)"),
        ({"activation": "silu"}, "stem.activation: a silu here, and relu"),
        ({"depths": (1, 1, 1, 1)}, "stage2"),
        ({"classes": 4}, "head.linear.weight: (4, 10) here, and (5, 10)"),
    ):
        with pytest.raises(WeightsError, match=re.escape(words)):
            read(path, rn.spec(NARROW, **fields))


def _tanh(proto: Any) -> None:
    node_of(proto, "stage2.block1.relu1").op_type = "Tanh"


SLIPS: dict[str, tuple[Callable[[Any], None], str]] = {
    "a convolution padded before": (
        lambda proto: set_attribute(proto, "stage2.block2.conv1", "pads", [2, 2, 0, 0]),
        "stage2.block1.conv1: padding is",
    ),
    "one norm with another epsilon": (
        lambda proto: set_attribute(proto, "stage1.block1.norm1", "epsilon", 1e-3),
        "stage1.block1.norm1: epsilon is 1e-05 here, and 0.001 in its node stage1.block1.norm1",
    ),
    "a dilated convolution": (
        lambda proto: set_attribute(proto, "stage2.block2.conv1", "dilations", [2, 2]),
        "stage2.block2.conv1: dilation is (1, 1) here, and (2, 2)",
    ),
    "a norm of the batch": (
        lambda proto: set_attribute(proto, "stage2.block1.norm1", "training_mode", 1),
        "its node stage2.block1.norm1 (BatchNormalization) is in training mode",
    ),
    "no ReLU": (without_relu, "stage2.block1.relu1: a ReLU here, and conv"),
    "another activation": (_tanh, "its node stage2.block1.relu1 (Tanh) is no layer"),
    "a block added to itself": (added_to_itself, "is an addition"),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_what_is_no_resnet_is_refused_by_its_node(slip: str, tmp_path: Path) -> None:
    change, words = SLIPS[slip]
    with pytest.raises(WeightsError, match=re.escape(words)):
        read(written(tmp_path, NARROW, change))


def _narrower(proto: Any) -> None:
    """One gate with another inner width than the others' ratio gives."""
    place = "stage2.block2.se"
    set_array(proto, f"{place}.reduce.weight", lambda array: array[:6])
    set_array(proto, f"{place}.reduce.bias", lambda array: array[:6])
    set_array(proto, f"{place}.expand.weight", lambda array: np.ascontiguousarray(array[:, :6]))


def _hard(proto: Any) -> None:
    set_operator(proto, "stage1.block1.se.sigmoid", "HardSigmoid")


def _swapped_pools(proto: Any) -> None:
    concat = next(node for node in proto.graph.node if node.op_type == "Concat")
    concat.input[:] = concat.input[::-1]


def _another_epsilon(proto: Any) -> None:
    """Of one norm."""
    names = [node for node in proto.graph.node if node.name.startswith("stage1.block1.norm1")]
    next(node for node in names if "number 1e-05" in node.input).input[1] = "epsilon"
    proto.graph.initializer.append(numpy_helper.from_array(np.float32(1e-3), "epsilon"))


def _number(value: float, other: float) -> Callable[[Any], None]:
    """Another number wherever the graph has this one."""
    return lambda proto: set_array(proto, f"number {value!r}", lambda array: np.full_like(array, other))


#: In networks with gates, blurs, other norms and activations.
NUMBERS: dict[str, tuple[rn.ResNetSpec, Callable[[Any], None], str]] = {
    "a hard sigmoid in a gate": (GATED, _hard, "its node stage1.block1.se.sigmoid (HardSigmoid) is no layer"),
    "a gate at another place": (
        GATED,
        with_early_gate,
        "stage1.block1.norm3: a BatchNorm here, and a gate in its node",
    ),
    "a gate of another ratio": (GATED, _narrower, "in its node stage2.block2.se.reduce"),
    "no ReLU in a gate": (
        GATED,
        lambda proto: set_operator(proto, "stage1.block1.se.relu", "Identity"),
        "stage1.block1.se.relu: a ReLU here, and linear in its node stage1.block1.se.expand",
    ),
    "a maximum in a gate": (
        GATED,
        lambda proto: set_operator(proto, "stage1.block1.se.pool", "GlobalMaxPool"),
        "stage1.block1.se.pool: a GlobalAveragePool here, and maximum in its node stage1.block1.se.pool",
    ),
    "an addition to what a gate should multiply": (
        GATED,
        lambda proto: set_operator(proto, "stage1.block1.se:2", "Add"),
        "its node stage1.block1.conv1 (Conv) is a branch that does not end in the addition of a block",
    ),
    "GELU of half the argument": (GATED, _number(2**-0.5, 0.5), "its node stem.activation"),
    "another slope": (BLURRED, _number(0.01, 0.2), "slope is 0.01 here, and 0.2 in its node stem.activation"),
    "another blur": (BLURRED, _number(2, 3), "its node stem.blur"),
    "another kernel of channels": (
        BLURRED,
        lambda proto: set_attribute(proto, "stage2.block1.eca.conv:2", "pads", [0, 2]),
        "stage2.block1.eca.conv: pads is (1, 1) here, and (0, 2) in its node stage2.block1.eca.conv:2",
    ),
    "a bound of ReLU6": (AVERAGED, _number(6.0, 5.0), "its node stem.activation (Clip) is another function than ReLU6"),
    "zeros in an average": (
        AVERAGED,
        lambda proto: set_attribute(proto, "stage2.block1.pool1", "count_include_pad", 1),
        "stage2.block1.pool1: inside is True here, and False in its node stage2.block1.pool1",
    ),
    "a larger average": (
        AVERAGED,
        lambda proto: set_attribute(proto, "stage2.block1.pool1", "kernel_shape", [3, 3]),
        "stage2.block1.pool1: kernel is (2, 2) here, and (3, 3) in its node stage2.block1.pool1",
    ),
    "maximum before average": (AVERAGED, _swapped_pools, "its node head.pool"),
    "another sixth": (GROUPED, _number(6.0, 5.0), "its node stem.activation"),
    "another epsilon": (
        GROUPED,
        _another_epsilon,
        "stage1.block1.norm1: epsilon is 1e-05 here, and 0.001 in its node stage1.block1.norm1",
    ),
    "other kernels' epsilon": (
        GROUPED,
        _number(1e-8, 1e-3),
        "standardize is 1e-08 here, and 0.001 in its node stem.conv",
    ),
}


@pytest.mark.parametrize("slip", NUMBERS)
def test_every_number_of_a_gate_or_blur_counts(slip: str, tmp_path: Path) -> None:
    spec, change, words = NUMBERS[slip]
    read(written(tmp_path, spec))
    with pytest.raises(WeightsError, match=re.escape(words)) as error:
        read(written(tmp_path, spec, change))
    assert "\n" not in str(error.value)


def _with_softmax(proto: Any) -> None:
    """As TensorFlow's converter writes it: channels last at the door, probabilities at the end, other names."""
    for node in proto.graph.node:
        for names in (node.input, node.output):
            names[:] = ["logits" if name == "output.logits" else name for name in names]
    proto.graph.node.append(helper.make_node("Softmax", ["logits"], ["output.logits"], axis=1))
    first = proto.graph.node[0]
    first.input[0] = "first"
    images = proto.graph.input[0]
    axes = images.type.tensor_type.shape.dim
    sizes = [axes[0].dim_param, 64, 48, 3]
    images.CopyFrom(helper.make_tensor_value_info("images", TensorProto.FLOAT, sizes))
    proto.graph.node.insert(0, helper.make_node("Transpose", ["images"], ["first"], perm=[0, 3, 1, 2]))


def test_probabilities_are_compared_as_such(tmp_path: Path) -> None:
    done = convert(written(tmp_path, NARROW, _with_softmax), tmp_path / "w.safetensors")
    assert done.source.probabilities
    assert done.source.spec.input_size == (64, 48)
    own = done.certificate.measured[1]
    assert own.referee == f"the source in onnxruntime {onnxruntime.__version__} in float32"
    assert 0 < own.errors["probabilities"] < 1e-5


def test_what_this_project_wrote_is_known_by_its_metadata(tmp_path: Path) -> None:
    spec = rn.spec("seresnet50", channels=(8, 8, 8, 8), depths=(1, 1, 1, 1), classes=3)
    rn.save_weights(tmp_path / "w.safetensors", rn.probe_weights(spec), spec)
    done = convert(tmp_path / "w.safetensors", tmp_path / "w.onnx")
    assert [measurement.equal for measurement in done.certificate.measured] == [True, True]
    back = import_weights(tmp_path / "w.onnx")
    assert (back.spec, back.network, back.recognized) == (spec, "onnx", None)
    convert(tmp_path / "w.onnx", tmp_path / "back.safetensors")
    assert (tmp_path / "back.safetensors").read_bytes() == (tmp_path / "w.safetensors").read_bytes()


def test_a_graph_that_was_changed_afterwards_is_not_what_its_metadata_say(tmp_path: Path) -> None:
    rn.save_weights(tmp_path / "w.safetensors", rn.probe_weights(NARROW), NARROW)
    convert(tmp_path / "w.safetensors", tmp_path / "w.onnx")
    proto = onnx.load(tmp_path / "w.onnx")
    set_attribute(proto, "stem.pool", "pads", [0, 0, 1, 1])
    onnx.save_model(proto, str(tmp_path / "w.onnx"))
    found = import_weights(tmp_path / "w.onnx")
    assert found.spec.stem_pool_padding == "same"  # by its nodes
    proof = certify(found, import_weights(tmp_path / "w.safetensors"))
    assert not proof.equal


def test_the_graph_itself_is_run(tmp_path: Path) -> None:
    """Weights that are right in a graph that is not: only what runs it can tell."""
    rn.save_weights(tmp_path / "w.safetensors", rn.probe_weights(NARROW), NARROW)
    convert(tmp_path / "w.safetensors", tmp_path / "w.onnx")
    own = import_weights(tmp_path / "w.onnx")
    proto = onnx.load(tmp_path / "w.onnx")
    without_relu(proto)
    onnx.save_model(proto, str(tmp_path / "w.onnx"))
    proof = certify(own, import_weights(tmp_path / "w.safetensors"))
    assert proof.measured[0].equal
    assert not proof.measured[1].equal
    assert not proof.equal


def _externally(proto: Any) -> None:
    tensor = next(tensor for tensor in proto.graph.initializer if tensor.name == "stem.conv.weight")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def _negative(proto: Any) -> None:
    for tensor in proto.graph.initializer:
        if tensor.name == "stem.norm.running_var":
            tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), tensor.name))


BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:3000]), "cannot be read as ONNX"),
    "something else": (lambda path: path.write_bytes(b"no network"), "cannot be read as ONNX"),
    "empty": (lambda path: path.write_bytes(b""), "cannot be read as ONNX"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_damaged_file_is_one_line(kind: str, tmp_path: Path) -> None:
    path = written(tmp_path, NARROW)
    change, words = BAD[kind]
    change(path)
    with pytest.raises(WeightsError, match=words) as error:
        import_weights(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_externally, "lies at '/etc/passwd'; expected a file in the graph's own folder"),
        (_negative, "a variance is never below 0"),
    ],
)
def test_what_a_graph_must_not_hold_is_refused(change: Callable[[Any], None], words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        import_weights(written(tmp_path, NARROW, change))


def test_half_precision_is_widened(tmp_path: Path) -> None:
    def halved(proto: Any) -> None:
        for tensor in proto.graph.initializer:
            if tensor.data_type == TensorProto.FLOAT:
                array = numpy_helper.to_array(tensor).astype(np.float16)
                tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))

    found = read(written(tmp_path, NARROW, halved))
    assert {array.dtype.name for array in found.weights.values()} == {"float32"}


def _around_a_node(proto: Any) -> None:
    proto.graph.node.insert(0, helper.make_node("Identity", ["images"], ["images"]))


def _around_the_stem(proto: Any) -> None:
    node_of(proto, "stem.conv").input[0] = "first"
    node_of(proto, "stem.pool").output[0] = "first"
    proto.graph.node.insert(0, helper.make_node("Relu", ["images"], ["first"]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_around_a_node, "the graph goes round in a circle at images"),
        (_around_the_stem, "two nodes of the graph compute first; expected one"),
    ],
)
def test_a_circle_is_no_network(change: Callable[[Any], None], words: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=words):
        read(written(tmp_path, NARROW, change))


@pytest.mark.parametrize("spec", [NARROW, GATED, BLURRED], ids=["plain", "gated", "blurred"])
def test_mutated_files_are_read_or_refused_in_one_line(
    spec: rn.ResNetSpec, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Nothing crashes, and what is accepted was checked: shapes, finite values, variances."""
    data, rng = written(tmp_path, spec).read_bytes(), np.random.default_rng(0)
    nodes = len(onnx.load_model_from_string(data).graph.node) * 60  # bytes, with which a file begins
    lines = []
    for _ in range(3_333 if request.config.getoption("--long") else 100):
        changed = bytearray(data)
        for _ in range(rng.integers(1, 4)):
            changed[rng.integers(nodes if rng.random() < 0.8 else len(data))] = rng.integers(256)
        (tmp_path / "changed.onnx").write_bytes(changed)
        try:
            found = read(tmp_path / "changed.onnx")
            check_weights(found.weights, rn.state(found.spec))
        except InputError as error:
            lines.append(str(error))
    assert not [line for line in lines if "\n" in line]
    assert len(lines) > 30
