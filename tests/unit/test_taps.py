"""Taps: their names, the paths that they mean, what is said of unknown ones, and their channels and strides."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import resnet_core as rn
from random_specs import sizes, specs
from resnet_core.analysis import node_shapes
from resnet_core.errors import InputError
from resnet_core.specification import ResNetSpec
from resnet_core.tap_paths import Record, tap_names, tap_nodes
from resnet_core.tree import BatchNorm, Chain, Conv, Linear, ReLU, walk


def named(name: str, **fields: Any) -> dict[str, str]:
    return tap_names(rn.layer_tree(rn.spec(name, **fields)))


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({}, "stem.relu"),
        ({"stem_type": "deep"}, "stem.relu3"),
        ({"activation": "silu"}, "stem.activation"),
        ({"stem_pool": "none"}, "stem.relu"),
        ({"stem_pool": "conv"}, "stem.relu"),
        ({"stem_pool_padding": "zeros"}, "stem.relu"),
        ({"antialias": "blur"}, "stem.relu"),
        ({"antialias": "average"}, "stem.relu"),
        ({"preactivation": True}, "stem.conv"),
        ({"stem": False}, None),
    ],
)
def test_stem_relu_is_the_stem_before_its_pool(fields: dict[str, Any], path: str | None) -> None:
    assert named("resnet18", **fields).get("stem_relu") == path


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({}, "head.pool"),
        ({"dropout": 0.5}, "head.pool"),
        ({"preactivation": True}, "head.pool"),
        ({"classes": None}, "head"),
        ({"classes": None, "global_pool": False}, "stage4"),
        ({"global_pool": False}, None),
    ],
)
def test_features_go_into_the_last_layer(fields: dict[str, Any], path: str | None) -> None:
    assert named("resnet18", **fields).get("features") == path


def test_the_usual_taps_come_in_order_and_stay_a_tuple_of_names() -> None:
    names = list(named("resnet18"))
    assert names == ["stem_relu", "stem", "stage1", "stage2", "stage3", "stage4", "features", "logits"]
    assert rn.taps(rn.spec("resnet18")) == ("stem", "stage1", "stage2", "stage3", "stage4", "logits")


@settings(max_examples=50)
@given(spec=specs())
def test_every_path_of_a_tree_is_a_tap_and_every_usual_tap_has_a_name(spec: ResNetSpec) -> None:
    tree = rn.layer_tree(spec)
    paths = {path for path, _ in walk(tree) if path}
    assert tap_nodes(tree, sorted(paths)) == {path: path for path in paths}
    assert set(rn.taps(spec)) <= set(tap_names(tree))
    assert set(tap_names(tree).values()) <= paths
    assert list(tap_names(tree))[-1] == rn.taps(spec)[-1]


def test_a_child_of_a_tree_of_ones_own_keeps_its_name() -> None:
    tree = Chain((("features", Chain((("relu", ReLU()),))), ("stem_relu", ReLU()), ("head", Linear(2, 2, dense=True))))
    assert tap_names(tree) == {"features": "features", "stem_relu": "stem_relu", "logits": "head"}


@pytest.mark.parametrize(
    ("tap", "hint"),
    [
        ("stage1.block2.con1", "did you mean stage1.block2.conv1? This"),
        ("stage1.blok1", "did you mean stage1.block1? This"),
        ("stem.conv.weight", "did you mean stem.conv? This"),
        ("feature", "did you mean features? This"),
        ("zzz", "this"),
        ("", "this"),
        (3, "this"),
    ],
)
def test_an_unknown_tap_is_one_clear_line(tap: Any, hint: str) -> None:
    spec = rn.spec("resnet20", depths=(2,), channels=(4,), classes=3)
    with pytest.raises(InputError) as caught:
        tap_nodes(rn.layer_tree(spec), ("stage1", tap))
    assert str(caught.value) == (
        f"taps: received {tap!r}; {hint} network has stem_relu, stem, stage1, features, logits, and every path that "
        "`resnet show SPEC --depth 3` shows"
    )


def test_a_text_is_no_tuple_of_taps() -> None:
    with pytest.raises(
        InputError, match=r"^taps: received the text 'stem'; expected a tuple of names from stem_relu, "
    ):
        tap_nodes(rn.layer_tree(rn.spec("resnet20")), "stem")


def test_tap_info_of_a_pyramid() -> None:
    found = rn.tap_info(rn.spec("resnet50"))
    levels = {tap: (info.channels, info.stride) for tap, info in found.items()}
    assert levels == {
        "stem_relu": (64, 2), "stem": (64, 4), "stage1": (256, 4), "stage2": (512, 8), "stage3": (1024, 16),
        "stage4": (2048, 32), "features": (2048, None), "logits": (1000, None),
    }  # fmt: skip
    assert found["stem_relu"] == rn.TapInfo("stem.relu", 64, 2, (112, 112, 64))


@pytest.mark.parametrize(
    ("name", "fields", "strides"),
    [
        ("resnet50", {"output_stride": 8}, {"stem_relu": 2, "stage1": 4, "stage2": 8, "stage3": 8, "stage4": 8}),
        ("resnet_v2_50", {"output_stride": 4}, {"stem_relu": 2, "stem": 4, "stage1": 4, "stage2": 4, "stage4": 4}),
        ("resnet18", {"stem_stride": 3, "strides": (1, 3, 1, 5)}, {"stem_relu": 3, "stage2": 18, "stage4": 90}),
        ("resnet20", {"global_pool": False}, {"stem_relu": 1, "stage3": 4, "logits": 4}),
        ("resnet18", {"antialias": "blur"}, {"stem_relu": 2, "stem": 4, "stage4": 32}),
    ],
)
def test_strides(name: str, fields: dict[str, Any], strides: dict[str, int]) -> None:
    found = rn.tap_info(rn.spec(name, **fields), tuple(strides))
    assert {tap: info.stride for tap, info in found.items()} == strides


def test_tap_info_inside_a_block() -> None:
    spec = rn.spec("resnet18", attention="se", input_size=(65, 48))
    taps = (
        "stage2.block1.conv1",
        "stage2.block1",
        "stage2.block1.shortcut",
        "stage2.block1.se",
        "stage2.block1.se.pool",
    )
    found = rn.tap_info(spec, taps)
    assert [(info.stride, info.shape) for info in found.values()] == [(8, (9, 6, 128))] * 4 + [(None, (128,))]
    assert rn.tap_info(spec, taps, size=(32, 64))["stage2.block1"].shape == (4, 8, 128)
    with pytest.raises(InputError, match="received 0x0"):
        rn.tap_info(spec, size=(0, 0))
    with pytest.raises(InputError, match=r"did you mean stage2\.block1"):
        rn.tap_info(spec, ("stage2.block11",))
    with pytest.raises(dataclasses.FrozenInstanceError):
        found["stage2.block1"].stride = 1  # type: ignore[misc]


@settings(max_examples=20, deadline=None)
@given(spec=specs(), data=st.data())
def test_shapes_are_those_that_are_computed(spec: ResNetSpec, data: st.DataObject) -> None:
    """Of every node, by NumPy; and a map is the image's size over the stride, up to what its edges add."""
    size = data.draw(sizes(spec))
    paths = tuple(path for path, _ in walk(rn.layer_tree(spec)) if path)
    model = rn.build(spec, "numpy", taps=paths)
    images = np.random.default_rng(0).standard_normal((1, *size, spec.in_channels))
    found = rn.load_backend("numpy").predict(model, images)
    infos = rn.tap_info(spec, paths, size)
    assert {path: value.shape[1:] for path, value in found.items()} == {p: info.shape for p, info in infos.items()}
    assert all((info.stride is None) == (len(info.shape) == 1) for info in infos.values())


def test_the_path_of_a_block_is_the_block_and_not_a_part_of_it() -> None:
    """Its body has the same path, and ends before the addition."""
    spec = rn.spec("resnet20", depths=(1,), channels=(4,))
    taps = ("stage1.block1", "stage1.block1.norm2", "stage1.block1.relu2", "stage1.block1.shortcut")
    images = np.random.default_rng(0).standard_normal((1, 9, 8, 3))
    block, body, last, shortcut = rn.load_backend("numpy").predict(rn.build(spec, "numpy", taps=taps), images).values()
    assert np.array_equal(block, last)
    assert np.array_equal(block, np.maximum(body + shortcut, 0))
    assert not np.array_equal(block, body)


def test_shapes_of_a_tree_of_ones_own() -> None:
    tree = Chain((("a", Conv(3, 4, (3, 3), (2, 2))), ("b", Chain((("norm", BatchNorm(4, 1e-5, 0.9)),)))))
    assert node_shapes(tree, (9, 7, 3)) == {"": (4, 3, 4), "a": (4, 3, 4), "b": (4, 3, 4), "b.norm": (4, 3, 4)}


def test_a_record_keeps_what_is_wanted_at_any_depth() -> None:
    record = Record(["stage1.block1.conv1", "stage1", "stage10.block1"])
    inside = record.inside("stage1")
    assert inside is not None
    assert inside.inside("block2") is None
    block = inside.inside("block1")
    assert block is not None
    block.keep("conv1", 1)
    block.keep("conv2", 2)
    record.keep("stage1", 3)
    assert record.outputs == {"stage1.block1.conv1": 1, "stage1": 3}
