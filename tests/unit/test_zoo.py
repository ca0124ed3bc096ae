"""Every named spec has exactly its published size, counted without any framework."""

from __future__ import annotations

import json
import os
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import pytest

import resnet_core as rn
from resnet_core.zoo import FAMILIES, REFERENCES, SOURCES, ZOO, family

#: {library/model: (parameters, parameters and running statistics)}, counted in other people's programs.
TABLE: dict[str, tuple[int, int]] = {
    key: (trained, total)
    for key, (trained, total) in json.loads(
        (Path(__file__).parents[1] / "referees" / "parameter_counts.json").read_text()
    ).items()
}

#: Of the table, what is no ResNet of this tree, and why.
LEFT_OUT = {
    **dict.fromkeys(
        ("timm/skresnet18", "timm/skresnet34", "timm/skresnet50", "timm/skresnet50d", "timm/skresnext50_32x4d"),
        "selective kernels: two convolutions, and a softmax between them",
    ),
    "timm/resnetv2_50d_evos": "EvoNorm: a norm and an activation that are one",
    "timm/resnetv2_50d_frn": "filter response normalization: its activation has a learned threshold",
    "timm/resnet50_mlp": "a head with a hidden layer",
    "timm/resnet51q": "a stem of four convolutions, and stages of different kinds of blocks",
    "timm/resnet61q": "a stem of four convolutions, and stages of different kinds of blocks",
}

#: Other entries of the table: the same network as a named one, or with a field replaced.
ALSO: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"timm/{name}": (name, {}) for name in [*FAMILIES["resnet"], *FAMILIES["resnext"]]},
    **{f"slim/{name}_1001": (name, {"classes": 1001}) for name in FAMILIES["slim"] if "_v2_" in name},
    **{f"preact_v2/resnet_v2_{depth}_nobias": (f"resnetv2_{depth}", {}) for depth in (50, 101, 152, 200)},
    **{f"keras_hub/resnet_{depth}_imagenet": (f"resnet{depth}", {}) for depth in (18, 50, 101, 152)},
    "keras_hub/resnet_v2_50_imagenet": ("resnetv2_50", {}),
    **{
        f"cifar10/resnet{depth}_optionA_1000cls": (f"resnet{depth}", {"classes": 1000})
        for depth in (20, 32, 44, 56, 110, 1202)
    },
}

#: Without an entry in the table: parameters from the book, and of timm's models.
RECORDED = {
    "resnet18_d2l": 11_178_378,  # Dive into Deep Learning, section 8.6
    "resnetv2_50x1_bit": 25_549_352,
    "resnetv2_50x3_bit": 217_319_080,
    "resnetv2_101x1_bit": 44_541_480,
    "resnetv2_101x3_bit": 387_934_888,
    "resnetv2_152x2_bit": 236_335_208,
    "resnetv2_152x4_bit": 936_533_224,
}

#: Multiply-accumulates at the spec's own input, of one network of each kind. They are recorded here, and counted by
#: PyTorch in tests/conformance/test_native_torch.py.
MACS = {
    "resnet18": 1814073344,
    "resnet34": 3663761408,
    "resnet50": 4089184256,
    "resnet101": 7801405440,
    "resnet152": 11513626624,
    "wide_resnet50_2": 11398021120,
    "wide_resnet101_2": 22753050624,
    "resnext50_32x4d": 4230479872,
    "resnext101_32x8d": 16414015488,
    "resnext101_64x4d": 15460270080,
    "resnet50_v1": 3857973248,
    "resnet101_v1": 7570194432,
    "resnet152_v1": 11282415616,
    "resnet18_d2l": 318657536,
    "resnet20": 40551040,
    "resnet32": 68862592,
    "resnet44": 97174144,
    "resnet56": 125485696,
    "resnet110": 252887680,
    "resnet1202": 2829238912,
    "resnet_v2_50": 3482255360,
    "resnet_v2_101": 7194476544,
    "resnet_v2_152": 10906697728,
    "resnet_v2_200": 14400552960,
}


def counts(name: str, **changes: Any) -> tuple[int, int]:
    """(parameters, parameters and running statistics) of a named spec."""
    totals = rn.totals(rn.spec(name, **changes))
    return totals.parameters, totals.state


def convolution(width: int, out: int, kernel: int = 1, groups: int = 1) -> int:
    """Parameters of a convolution without biases and its norm."""
    return width * out * kernel**2 // groups + 2 * out


def test_every_entry_of_the_table_has_a_name_or_a_reason() -> None:
    assert {*REFERENCES.values(), *ALSO, *LEFT_OUT} == set(TABLE)
    assert not {*REFERENCES.values(), *ALSO} & set(LEFT_OUT)


def test_every_name_has_a_reference_or_a_test_of_its_own() -> None:
    derived = {name for name in FAMILIES["cifar"] if name.startswith(("plain", "resnext"))}
    derived |= {"wrn_40_10", "plain18", "plain34", "flax_resnet50"}
    assert set(ZOO) - set(REFERENCES) == derived | set(RECORDED)


def test_counts_of_the_named_specs() -> None:
    assert {name: counts(name) for name in REFERENCES} == {name: TABLE[key] for name, key in REFERENCES.items()}


def test_counts_of_the_tables_other_entries() -> None:
    assert {key: counts(name, **changes) for key, (name, changes) in ALSO.items()} == {key: TABLE[key] for key in ALSO}


def test_counts_from_a_book_and_from_big_transfer() -> None:
    assert {name: counts(name)[0] for name in RECORDED} == RECORDED


def test_the_table_is_the_shared_one() -> None:
    folder = os.environ.get("RESNET_SHARED")
    if not folder:
        pytest.skip("RESNET_SHARED is not set: the counts are held against the committed table only")
    shared = json.loads((Path(folder) / "reference" / "param_counts.json").read_text())
    assert {key: (row["trainable"], row["total"]) for key, row in shared.items()} == TABLE


@pytest.mark.parametrize("depth", [20, 32, 44, 56])
def test_a_plain_network_is_a_resnet_without_shortcuts(depth: int) -> None:
    assert rn.state(rn.spec(f"plain{depth}")) == rn.state(rn.spec(f"resnet{depth}"))  # option A has no parameters
    assert counts(f"plain{depth}") == TABLE[f"cifar10/resnet{depth}_optionA"]


@pytest.mark.parametrize("depth", [18, 34])
def test_a_plain_network_has_no_projections(depth: int) -> None:
    projections = sum(convolution(width, 2 * width) for width in (64, 128, 256))
    assert counts(f"plain{depth}")[0] == TABLE[f"torchvision/resnet{depth}"][0] - projections
    state = rn.state(rn.spec(f"resnet{depth}"))
    assert rn.state(rn.spec(f"plain{depth}")) == {
        name: shape for name, shape in state.items() if ".shortcut." not in name
    }


def test_the_wide_network_of_40_layers_from_its_formula() -> None:
    stages, total = [16, 160, 320, 640], 3 * 16 * 9
    for width, out in pairwise(stages):
        total += width * out  # the projection, without a norm
        total += sum(2 * start + start * out * 9 + 2 * out + out * out * 9 for start in (width, *[out] * 5))
    total += 2 * 640 + 640 * 10 + 10
    assert counts("wrn_40_10")[0] == total
    assert round(total / 1e6, 1) == 55.8  # the paper


@pytest.mark.parametrize(("groups", "millions"), [(8, 34.4), (16, 68.1)])
def test_resnext_on_cifar_from_its_formula(groups: int, millions: float) -> None:
    width, total = 64, convolution(3, 64, 3)
    for stage in (1, 2, 4):
        inner, out = groups * 64 * stage, 256 * stage
        total += convolution(width, out)
        for start in (width, out, out):
            total += convolution(start, inner) + convolution(inner, inner, 3, groups) + convolution(inner, out)
        width = out
    total += 1024 * 10 + 10
    assert counts(f"resnext29_{groups}x64d")[0] == total
    assert total // 100_000 / 10 == millions  # the paper


def test_flax_has_resnet50s_tensors() -> None:
    assert rn.state(rn.spec("flax_resnet50")) == rn.state(rn.spec("resnet50"))


def test_a_name_is_in_one_family() -> None:
    assert rn.names() == [name for members in FAMILIES.values() for name in members]
    assert len(set(rn.names())) == len(rn.names())
    assert [family(name) for name in rn.names()] == [label for label, members in FAMILIES.items() for _ in members]
    assert [rn.spec(name).name for name in rn.names()] == rn.names()


def test_names_of_a_family_and_a_pattern() -> None:
    assert rn.names("caffe") == ["resnet50_v1", "resnet101_v1", "resnet152_v1"]
    assert rn.names(like="RESNETRS") == rn.names("rs") == rn.names(like="resnetrs*")
    assert rn.names("se", like="seresnet?8") == ["seresnet18"]
    assert rn.names("slim", like="*v2_[5-9]0") == ["resnet_v2_50"]


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ({"family": "ECA"}, "family: received 'ECA'; did you mean eca? known are resnet, resnext, caffe, "),
        ({"like": "resnet5d"}, "like: no name matches 'resnet5d'; the nearest are resnet50d"),
        ({"family": "se", "like": "zzz"}, "like: no name of the family se matches 'zzz'; `resnet list` shows all"),
    ],
)
def test_a_filter_without_a_hit_is_refused(filters: dict[str, str], said: str) -> None:
    with pytest.raises(rn.InputError) as error:
        rn.names(**filters)
    assert str(error.value).startswith(said)


@pytest.mark.parametrize(
    ("written", "meant"),
    [("ResNet-50", "resnet50"), ("resnet50_d", "resnet50d"), ("seresnext50", "seresnext50_32x4d"),
     ("resnetv2_50x1_bit.goog_in21k", "resnetv2_50x1_bit"), ("wrn-28-10", "wrn_28_10"), ("resnet5", "resnet")],
)  # fmt: skip
def test_a_name_as_others_write_it_is_understood(written: str, meant: str) -> None:
    with pytest.raises(rn.InputError, match=rf"no spec has this name; did you mean {meant}"):
        rn.spec(written)


def test_every_family_says_where_it_is_from() -> None:
    assert list(SOURCES) == list(FAMILIES)
    assert max(len(f"{family}: {source}") for family, source in SOURCES.items()) <= 80


def test_no_two_names_are_one_network() -> None:
    seen: dict[rn.ResNetSpec, str] = {}
    for name in rn.names():
        spec = rn.spec(name)
        nameless = rn.spec(spec, name="")
        assert nameless not in seen, f"{name} is {seen[nameless]}"
        seen[nameless] = name


CHANGED = [{}, {"output_stride": 8, "input_size": [97, 66]}, {"drop_path": 0.2, "classes": None}]


@pytest.mark.parametrize("changes", CHANGED, ids=["as it is", "dilated", "random depth"])
def test_totals_are_sums_over_layers_and_tensors(changes: dict[str, Any]) -> None:
    for name in rn.names() if not changes else ["resnet34", "resnet_v2_50", "seresnetaa50d", "resnetv2_50d_gn"]:
        spec = rn.spec(name, **changes)
        totals, layers = rn.totals(spec), rn.layers(spec)
        assert totals.output_shape == layers[-1].output_shape
        assert totals.macs == sum(layer.macs for layer in layers)
        assert totals.parameters == sum(layer.parameters for layer in layers) == sum(sizes(rn.parameters(spec)))
        assert totals.state == sum(layer.state for layer in layers) == sum(sizes(rn.state(spec)))


def sizes(shapes: dict[str, tuple[int, ...]]) -> list[int]:
    return [prod(shape) for shape in shapes.values()]


def test_totals_and_layers_say_the_same_of_an_image_that_is_too_small() -> None:
    said = []
    for function in (rn.totals, rn.layers):
        with pytest.raises(rn.InputError) as error:
            function(rn.spec("resnetblur50"), (4, 4))
        said.append(str(error.value))
    assert said[0] == said[1]
    assert said[0].startswith("stage2.block1.pool2: a blur reflects")


def test_multiply_accumulates() -> None:
    assert {name: rn.totals(rn.spec(name)).macs for name in MACS} == MACS


def test_resnet50_has_the_published_multiply_accumulates() -> None:
    assert rn.totals(rn.spec("resnet50"), (224, 224)).macs == 4_089_184_256


def test_d2l_has_the_books_parameters_with_three_channels() -> None:
    assert rn.totals(rn.spec("resnet18_d2l", in_channels=3)).parameters == 11_184_650


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_option_b_is_one_field(depth: int) -> None:
    assert counts(f"resnet{depth}", shortcut="projection") == TABLE[f"cifar10/resnet{depth}_optionB"]


@pytest.mark.parametrize("name", ZOO)
def test_defaults_of_the_named_specs(name: str) -> None:
    size, classes = {"cifar": ([32, 32, 3], 10), "d2l": ([96, 96, 1], 10)}.get(family(name), ([224, 224, 3], 1000))
    spec = rn.spec(name)
    assert [*spec.input_size, spec.in_channels] == size
    assert spec.classes == classes
    assert rn.totals(spec).output_shape == (classes,)


@pytest.mark.parametrize(
    ("output_stride", "sizes"), [(None, [28, 14, 7, 7]), (32, [28, 14, 7, 7]), (16, [28, 14, 14, 14]), (8, [28] * 4)]
)
def test_output_strides_of_slim_at_224_pixels(output_stride: int | None, sizes: list[int]) -> None:
    spec = rn.spec("resnet_v2_50", output_stride=output_stride, global_pool=False, classes=21)
    last = {layer.path.split(".")[0]: layer.output_shape for layer in rn.layers(spec)}
    assert [last[f"stage{stage}"][:2] for stage in (1, 2, 3, 4)] == [(side, side) for side in sizes]
    assert rn.totals(spec).output_shape == (sizes[-1], sizes[-1], 21)
    assert rn.state(spec) == rn.state(rn.spec("resnet_v2_50", classes=21))
