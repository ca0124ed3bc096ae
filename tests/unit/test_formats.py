"""Names of other libraries: recognized, read and written; what may be several networks, or none, is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import resnet_core as rn
from network_kinds import EVERY_NAME
from resnet_core.architecture import layer_tree
from resnet_core.comparison.narrow import narrowed
from resnet_core.conversion.convert import convert
from resnet_core.conversion.export import export_weights
from resnet_core.conversion.formats import FORMATS
from resnet_core.conversion.inference import infer_spec
from resnet_core.conversion.naming import read_names, write_names
from resnet_core.conversion.read import neutral_weights
from resnet_core.conversion.recognition import recognize
from resnet_core.errors import InputError, WeightsError
from resnet_core.specification import to_fields
from resnet_core.tree import Shape
from resnet_core.zoo import family

RECORDED: dict[str, Any] = json.loads((Path(__file__).parents[1] / "referees" / "names.json").read_text())
CASES = [(format, name) for format in FORMATS for name in RECORDED.get(format, ())]

#: Families of what these libraries have.
LIBRARIES = (
    "resnet", "resnext", "keras", "slim", "bag_of_tricks", "se", "eca", "antialiased", "rs", "preactivation",
    "group_norm", "big_transfer",
)  # fmt: skip

#: What no name and no shape tells.
UNSEEN = (
    "stem_pool", "stem_pool_padding", "stem_stride", "stem_pool_stride", "stride_on", "stride_unit", "conv_padding",
    "norm_epsilon", "norm_decay", "shortcut_pool", "antialias", "activation", "standardize_weights", "norm",
    "norm_groups", "initializer", "zero_init_residual", "attention_place", "shortcut",
)  # fmt: skip


def shapes(format: str, name: str) -> dict[str, Shape]:
    return {tensor: tuple(shape) for tensor, (shape, _) in RECORDED[format][name].items()}


@pytest.mark.parametrize(("format", "name"), CASES)
def test_a_recorded_program_is_recognized_as_the_network_of_its_name(format: str, name: str) -> None:
    found = recognize(shapes(format, name))
    assert (found.format.name, found.spec.name) == (format, name)
    assert found.spec.classes == 10
    assert set(found.names.values()) == set(rn.state(found.spec))
    assert all(tensor.endswith("num_batches_tracked") for tensor in found.left_out)


@pytest.mark.parametrize(("format", "name"), CASES)
def test_an_export_has_exactly_the_recorded_names_shapes_and_dtypes(format: str, name: str) -> None:
    spec = rn.spec(name, classes=10)
    exported = export_weights(spec, rn.probe_weights(spec), format)
    found = {tensor: [list(array.shape), array.dtype.name] for tensor, array in exported.arrays.items()}
    counters = {tensor for tensor in RECORDED[format][name] if tensor.endswith("num_batches_tracked")}
    assert found == {tensor: own for tensor, own in RECORDED[format][name].items() if tensor not in counters}
    if exported.style.order:  # a part of the file
        assert list(found) == list(RECORDED[format][name])


def test_a_last_layer_of_keras_may_have_its_older_name() -> None:
    older = {name.replace("predictions/", "probs/"): shape for name, shape in shapes("keras", "keras_resnet50").items()}
    found = recognize(older)
    assert found.spec == rn.spec("keras_resnet50", classes=10)
    assert found.names["probs/kernel"] == "head.linear.weight"


def numbered(name: str) -> dict[str, str]:
    """{name in a file of Keras before 3.6: name since} of a recorded network, whose layers are in their order."""
    kinds = {"conv": "conv2d", "bn": "batch_normalization", "predictions": "dense"}
    found: dict[str, str] = {}
    counts: dict[str, dict[str, int]] = {kind: {} for kind in kinds}
    for tensor in RECORDED["keras"][name]:
        layer, _, variable = tensor.rpartition("/")
        kind = layer.rpartition("_")[2]
        number = counts[kind].setdefault(layer, len(counts[kind]))
        found[f"layers/{kinds[kind]}{f'_{number}' if number else ''}/{variable}"] = tensor
    return found


@pytest.mark.parametrize("name", ["keras_resnet50", "keras_resnet50_v2"])
def test_layers_of_keras_that_are_only_numbered_are_those_of_the_recorded_order(name: str) -> None:
    named, names = shapes("keras", name), numbered(name)
    without = dict(sorted((there, named[layer]) for there, layer in names.items()))
    found, usual = recognize(without, format="keras"), recognize(named)
    with pytest.raises(WeightsError, match=r"in the order of keras.applications, which programs with other strides"):
        recognize(without)
    assert recognize(without, spec=usual.spec).names == found.names
    assert (found.spec, found.spec.name, found.ordered_as) == (usual.spec, name, "keras.applications")
    assert {names[there]: here for there, here in found.names.items()} == dict(usual.names)
    assert usual.ordered_as is None
    body = {there: shape for there, shape in without.items() if "dense" not in there}
    assert recognize(body, format="keras").spec.classes is None
    words = "its layers have numbers for names .* and are not those of a ResNet of keras.applications in their order"
    for lost in ("layers/conv2d_7/", "layers/batch_normalization/"):
        with pytest.raises(WeightsError, match=words):
            recognize({there: shape for there, shape in without.items() if not there.startswith(lost)})
    exchanged = {**without, "layers/conv2d_2/kernel": without["layers/conv2d_8/kernel"]}
    with pytest.raises(WeightsError):
        recognize(exchanged, format="keras")
    automatic = {there.removeprefix("layers/"): shape for there, shape in without.items()}
    with pytest.raises(WeightsError, match=r"have the names that the library numbers \(conv2d/kernel|\(batch_norm"):
        recognize({**automatic, "predictions/kernel": (2048, 10)}, format="keras")
    last = "10" if name == "keras_resnet50" else "9"  # in front of the first stage, v2 has no norm
    stage = re.compile(rf"conv2d(_[1-9]|_10)?/|normalization(_[1-9]|_{last})?/")
    one = {there: shape for there, shape in without.items() if stage.search(there)}
    with pytest.raises(WeightsError, match="every projection has the shape of the convolution beside it"):
        recognize(one, format="keras")


def test_the_variables_of_slim_are_recognized_and_their_scope_is_no_part_of_them() -> None:
    recorded = json.loads((Path(__file__).parents[1] / "referees" / "tf_slim.json").read_text())
    variables = {name: tuple(shape) for name, shape in recorded["cases"]["pooled"]["state"].items()}
    beside = {"global_step": (), "resnet_v2_50/conv1/weights/Momentum": (7, 7, 3, 64)}
    found = recognize({**variables, **beside})
    assert (found.format.name, found.style.name, found.spec) == (
        "slim", "resnet_v2.py", rn.spec("resnet_v2_50", classes=10),
    )  # fmt: skip
    assert found.left_out == tuple(beside)
    exported = export_weights(found.spec, rn.probe_weights(found.spec), "slim")
    assert {name: array.shape for name, array in exported.arrays.items()} == variables
    assert {array.dtype.name for array in exported.arrays.values()} == {"float32"}
    for name in ("resnet_v1_101", "resnet_v2_200"):
        names = write_names(FORMATS["slim"], FORMATS["slim"].styles["v2" in name], rn.state(rn.spec(name)))
        assert {there.partition("/")[0] for there in names.values()} == {name}


@pytest.mark.parametrize(
    ("name", "format", "stated"),
    [
        ("resnet18", "torchvision", {"conv_padding": "symmetric", "stem_pool_padding": "symmetric"}),
        ("resnet50", "torchvision", {"stride_on": "3x3", "norm_epsilon": 1e-5}),
        ("keras_resnet50", "keras", {"stride_on": "1x1", "stem_pool_padding": "zeros", "norm_epsilon": 1.001e-5}),
        ("flax_resnet50", "flax", {"conv_padding": "same", "stem_pool_padding": "same"}),
        ("seresnext26ts", "timm", {"activation": "silu", "attention_place": "inner"}),
    ],
)
def test_what_no_tensor_shows_is_stated_and_what_one_shows_is_not(
    name: str, format: str, stated: dict[str, Any]
) -> None:
    spec = rn.spec(name)
    shapes = {
        there: array.shape for there, array in export_weights(spec, rn.probe_weights(spec), format).arrays.items()
    }
    found = recognize(shapes, format=format)
    assert stated.items() <= found.stated.items()
    assert ("stride_on" in found.stated) == (spec.block == "bottleneck")
    assert not found.stated.keys() & {"block", "stem_type", "attention", "conv_bias", "depths", "channels"}
    assert recognize(shapes, spec=spec, format=format).stated == {}  # who gives a spec says them


@pytest.mark.parametrize("name", ["resnet_v1_50", "resnet_v2_50"])
def test_slims_output_stride_and_pool_are_arguments_of_its_function(name: str) -> None:
    plain = rn.spec(name, classes=5)
    dense = rn.spec(plain, output_stride=16, global_pool=False)
    weights = rn.probe_weights(plain)
    exported, usual = export_weights(dense, weights, "slim"), export_weights(plain, weights, "slim")
    assert exported.chosen == {"output_stride": 16, "global_pool": False}
    assert usual.chosen == {}
    assert layer_tree(exported.spec) == layer_tree(dense) != layer_tree(usual.spec)
    assert exported.arrays.keys() == usual.arrays.keys()
    assert all(np.array_equal(array, usual.arrays[there]) for there, array in exported.arrays.items())


def state_of_ours(spec: rn.ResNetSpec) -> dict[str, Shape]:
    """Names and shapes of the state of an NNX model, as Flax writes it."""
    own, names = rn.state(spec), write_names(FORMATS["flax"], FORMATS["nnx"].styles[0], rn.state(spec))
    assert names is not None
    return {names[name]: (*shape[2:], *shape[1::-1]) for name, shape in own.items()}


@pytest.mark.parametrize("name", ["resnet34", "seresnet50", "preact_resnet110", "resnetv2_50d"])
def test_the_state_of_our_own_model_is_the_one_network_that_has_these_tensors(name: str) -> None:
    spec = rn.spec(name, classes=7, in_channels=1)
    found = recognize(state_of_ours(spec))
    assert (found.style.name, found.spec) == ("a model of this project", spec)
    assert set(found.names.values()) == set(rn.state(spec))
    fields = to_fields(spec)
    assert found.stated["norm_epsilon"] == spec.norm_epsilon
    assert {key: fields[key] for key in found.stated} == found.stated


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            rn.spec("resnet50", classes=7),
            "several networks: resnet50, resnet50_v1, resnet_v1_50, resnetaa50, resnetblur50, flax_resnet50; say which",
        ),
        (rn.spec("resnet34", channels=(8, 16, 24, 32)), "no network with a name has these tensors; give it by --spec"),
        (rn.spec("resnet34", conv_bias=["stem"]), "no network with a name has these tensors; give it by --spec"),
        (rn.spec("resnet50_gn"), r"they were dropped, or these are norms without any (resnet50_gn); if they are, say"),
    ],
)
def test_a_state_of_ours_that_may_be_several_networks_or_none_is_refused(spec: rn.ResNetSpec, words: str) -> None:
    with pytest.raises(WeightsError) as refused:
        recognize(state_of_ours(spec))
    assert words in str(refused.value)
    assert recognize(state_of_ours(spec), spec=spec).spec == spec


@pytest.mark.parametrize("name", ["resnet20", "seresnext26ts", "resnetv2_50x1_bit", "flax_resnet50"])
@pytest.mark.parametrize("deploy", [False, True])
def test_a_state_of_ours_is_written_for_every_network_as_it_is(name: str, deploy: bool) -> None:
    spec = narrowed(rn.spec(name, deploy=deploy))
    weights = rn.probe_weights(spec)
    exported = export_weights(spec, weights, "nnx")
    assert (exported.spec, exported.chosen, exported.rewritten) == (spec, {}, ())
    found = recognize({there: array.shape for there, array in exported.arrays.items()}, spec=spec)
    assert dict(found.names) == {there: here for here, there in exported.names.items()}
    again = neutral_weights(found.format, found.style, found.names, exported.arrays)
    assert again.keys() == weights.keys()
    assert all(np.array_equal(again[here], array) for here, array in weights.items())


def test_a_state_in_msgpack_may_be_flaxs_or_ours(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^to: received none; \.msgpack may be flax or nnx; say which with --to$"):
        convert(tmp_path / "w.safetensors", tmp_path / "state.msgpack")
    with pytest.raises(InputError, match=r"received the ending \.npz for nnx; expected \.msgpack"):
        convert(tmp_path / "w.safetensors", tmp_path / "state.npz", destination_format="nnx")


def test_a_state_of_ours_without_its_statistics_is_no_network() -> None:
    shapes = state_of_ours(rn.spec("resnet34"))
    lost = {name: shape for name, shape in shapes.items() if not name.endswith(("/mean", "/var"))}
    with pytest.raises(WeightsError):
        recognize(lost)
    swapped = {**shapes, "stage1/block1/conv1/kernel": (3, 3, 64, 128)}
    with pytest.raises(WeightsError, match="no network with a name has these tensors"):
        recognize(swapped)


@pytest.mark.parametrize("name", EVERY_NAME)
def test_the_spec_of_every_network_is_inferred_from_its_tensors(name: str) -> None:
    spec = rn.spec(name)
    fields = to_fields(spec)
    told = {field: fields[field] for field in UNSEEN if (field, fields[field]) != ("norm", "batch")}
    assert layer_tree(infer_spec(rn.state(spec), told)) == layer_tree(spec)


@pytest.mark.parametrize("name", EVERY_NAME)
def test_what_is_exported_is_read_again_as_the_same_names(name: str) -> None:
    spec, styles = rn.spec(name), 0
    for format in FORMATS.values():
        for style in format.styles:
            written = write_names(format, style, rn.state(spec))
            if written is not None:
                styles += 1
                own = rn.state(spec)
                hwio = format.layout == "hwio"
                shapes = {
                    there: (*own[name][2:], *own[name][1::-1]) if hwio else own[name] for name, there in written.items()
                }
                assert len(set(written.values())) == len(written)
                found, unknown = read_names(format, style, shapes)
                assert (found, unknown) == ({there: here for here, there in written.items()}, [])
    assert styles or family(name) not in LIBRARIES


REFUSED = [
    ("resnet50", "keras", 'stride_on is "3x3", and "1x1" in its resnet.py'),
    ("resnet50", "slim", 'stride_unit is "first", and "last" in its resnet_v1.py'),
    ("resnet18", "slim", 'block is "basic", and "bottleneck" in its resnet_v1.py'),
    ("resnet50_v1", "torchvision", 'stride_on is "1x1", and "3x3" in its resnet.py'),
    ("resnet50_v1", "keras", 'stem_pool_padding is "symmetric", and "zeros"'),
    ("resnet50d", "torchvision", 'stem_type is "deep", and "conv"'),
    ("resnext50_32x4d", "hf", "groups is 32, and 1"),
    ("resnet20", "torchvision", "channels is [16, 32, 64], and [64, 128, 256, 512]"),
    ("resnet20", "timm", "stem_stride is 1, and 2"),
    ("plain18", "timm", 'shortcut is "none", and "projection"'),
    ("resnet18_d2l", "torchvision", "conv_bias: stem.conv.bias is not zero"),
    ("resnet_v2_50", "timm", "conv_bias: stem.conv.bias is not zero"),
    ("flax_resnet50", "torchvision", 'stem_pool_padding is "same", and "symmetric"'),
    ("seresnet18", "torchvision", "has no stage1.block1.se.reduce"),
    ("resnet50_gn", "torchvision", 'norm is "group", and "batch"'),
    ("resnetblur50", "torchvision", 'antialias is "blur", and "none"'),
    ("resnet18", "keras", 'block is "basic", and "bottleneck"'),
]


@pytest.mark.parametrize(("name", "format", "words"), REFUSED)
def test_another_network_is_refused_by_the_field(name: str, format: str, words: str) -> None:
    spec = rn.spec(name)
    with pytest.raises(WeightsError) as caught:
        export_weights(spec, rn.probe_weights(spec), format)
    assert str(caught.value).startswith(f"{FORMATS[format].title} is another network: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_reason_is_that_of_the_program_that_is_nearest() -> None:
    """resnet_v1 differs in more, of which its biases come up first."""
    spec = rn.spec("resnet_v2_50", channels=[2, 3, 4, 5], depths=[1, 1, 1, 1], classes=3)
    with pytest.raises(WeightsError, match=r"channels is \[2, 3, 4, 5\], and \[64.*\] in its resnet_v2\.py$"):
        export_weights(spec, rn.probe_weights(spec), "slim")


def test_what_differs_exactly_is_rewritten_and_said() -> None:
    spec = rn.spec("resnet18", depths=[1, 1, 1, 1], norm_epsilon=1e-3)
    weights = rn.probe_weights(spec, dtype="float64")
    exported = export_weights(spec, weights, "torchvision")
    assert exported.rewritten == ("an epsilon of 1e-05, not 0.001: the running variances have the rest",)
    np.testing.assert_allclose(
        exported.arrays["bn1.running_var"], weights["stem.norm.running_var"] + 0.99e-3, rtol=1e-12
    )
    small = {**weights, "stem.norm.running_var": np.zeros_like(weights["stem.norm.running_var"])}
    tight = rn.spec("resnet18", depths=[1, 1, 1, 1], norm_epsilon=1e-6)
    with pytest.raises(WeightsError, match=r"norm_epsilon is 1e-06, and 1e-05 there; stem.norm.running_var is too"):
        export_weights(tight, small, "torchvision")


def test_biases_of_zero_are_added_and_left_out() -> None:
    plain = rn.spec("keras_resnet50", conv_bias=[], depths=[1, 1, 1, 1])
    exported = export_weights(plain, rn.probe_weights(plain), "keras")
    assert exported.rewritten == ("17 biases of zero, which it has and this network has not",)
    assert not exported.arrays["conv1_conv/bias"].any()
    biased = rn.spec("resnet18", conv_bias=["stem"])
    weights = rn.probe_weights(biased)
    zero = {**weights, "stem.conv.bias": np.zeros(64, np.float32)}
    assert export_weights(biased, zero, "torchvision").rewritten == ("without 1 biases, all of them zero",)


# What must not be read.


def test_lost_statistics_are_no_network_of_other_norms() -> None:
    lost = {name: shape for name, shape in shapes("torchvision", "resnet50").items() if "running" not in name}
    with pytest.raises(WeightsError, match=r"no norm has statistics: they were dropped, .* \(resnet50_gn\)"):
        recognize(lost)
    assert recognize(lost, spec=rn.spec("resnet50_gn", classes=10)).spec.norm == "group"
    some = {name: shape for name, shape in shapes("torchvision", "resnet50").items() if name != "bn1.running_var"}
    with pytest.raises(WeightsError, match=r"1 missing \(stem\.norm\.running_var\)"):
        recognize(some)


def test_a_missing_and_a_left_over_tensor_are_named() -> None:
    known = shapes("torchvision", "resnet18")
    less = {name: shape for name, shape in known.items() if name != "layer3.1.conv2.weight"}
    with pytest.raises(WeightsError, match=r"conv1, conv2 and so on"):
        recognize(less)
    with pytest.raises(WeightsError, match=r"torchvision's ResNet it has all names but 1 \(layer1\.0\.conv9x\."):
        recognize({**known, "layer1.0.conv9x.weight": (1,)})
    with pytest.raises(WeightsError, match=r"4 unknown \(stage1\.block1\.norm3\.weight, "):
        recognize(
            {**known, **{f"layer1.0.bn3.{own}": (64,) for own in ("weight", "bias", "running_mean", "running_var")}}
        )


def test_another_number_of_classes_is_said() -> None:
    known = shapes("torchvision", "resnet18")
    with pytest.raises(WeightsError, match=r"these weights are for 10 classes \(set classes = 10\)"):
        recognize(known, spec=rn.spec("resnet18"))
    slim = {**known, "fc.weight": (1001, 512), "fc.bias": (1001,)}
    with pytest.raises(WeightsError, match=r"these weights are for 1001 classes"):
        recognize(slim, spec=rn.spec("resnet18"))
    assert recognize(slim).spec.classes == 1001


def test_what_may_be_several_networks_is_refused_with_their_names() -> None:
    spec = rn.spec("resnet50d")
    names = {tensor: array.shape for tensor, array in export_weights(spec, rn.initialize(spec), "timm").arrays.items()}
    with pytest.raises(WeightsError, match=r"several networks: resnet50d, resnetaa50d, resnetblur50d; say which"):
        recognize(names)
    assert recognize(names, spec=rn.spec("resnetblur50d")).spec.antialias == "blur"
    likely = recognize(names, likely=rn.spec("resnetblur50d", classes=3)).spec
    assert (likely.name, likely.classes) == ("resnetblur50d", 1000)
    with pytest.raises(WeightsError, match=r"several networks"):
        recognize(names, likely=rn.spec("resnet18"))
    plain = shapes("torchvision", "resnet50")
    assert recognize(plain).namesakes == ("resnetaa50", "resnetblur50")
    with pytest.raises(WeightsError, match=r"several networks: resnet50, resnetaa50, resnetblur50"):
        recognize(plain, format="timm")


def test_timms_older_networks_with_gates_are_refused_by_what_no_spec_says() -> None:
    """Names as in timm 1.0.31, timm/models/senet.py."""
    norm = ("weight", "bias", "running_mean", "running_var")
    older = {"layer0.conv1.weight": (64, 3, 7, 7), **{f"layer0.bn1.{own}": (64,) for own in norm}}
    for number in (1, 2):
        older |= {
            f"layer1.0.conv{number}.weight": (64, 64, 3, 3),
            **{f"layer1.0.bn{number}.{own}": (64,) for own in norm},
        }
    older |= {"layer1.0.se_module.fc1.weight": (4, 64, 1, 1), "layer1.0.se_module.fc1.bias": (4,)}
    older |= {"layer1.0.se_module.fc2.weight": (64, 4, 1, 1), "layer1.0.se_module.fc2.bias": (64,)}
    older |= {"last_linear.weight": (10, 512), "last_linear.bias": (10,)}
    for spec in (None, rn.spec("seresnet18", classes=10)):
        with pytest.raises(
            WeightsError, match=r"are those of timm's senet\.py .* no stem_pool_padding, .* no attention_place"
        ):
            recognize(older, spec=spec)
    renamed = {name.replace("layer0.", "layer9."): shape for name, shape in older.items()}
    with pytest.raises(WeightsError, match=r"are not those of any of"):
        recognize(renamed)


def test_a_gate_is_not_torchvisions() -> None:
    found = recognize(shapes("timm", "seresnet50"))
    assert (found.format.name, found.spec.attention) == ("timm", "se")
    with pytest.raises(WeightsError, match=r"not those of torchvision"):
        recognize(shapes("timm", "seresnet50"), format="torchvision")


def test_a_body_of_transformers_is_read_with_and_without_the_prefix_of_its_classifier() -> None:
    body = {name: shape for name, shape in shapes("hf", "resnet18").items() if not name.startswith("classifier")}
    for names in (body, {name.removeprefix("resnet."): shape for name, shape in body.items()}):
        found = recognize(names)
        assert (found.format.name, found.spec.classes) == ("hf", None)


def test_an_unknown_format_is_one_line() -> None:
    with pytest.raises(InputError, match=r"format: received 'caffe'; expected one of torchvision, timm, hf, keras, "):
        recognize({}, format="caffe")
    with pytest.raises(WeightsError, match=r"its names \(foo\.weight\) are not those of any of torchvision, timm"):
        recognize({"foo.weight": (1,)})
