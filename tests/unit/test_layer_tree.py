"""The layer tree: names, order, strides, dilation and shortcuts, and what every backend may rely on."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import resnet_core as rn
from random_specs import sizes, specs
from resnet_core import InputError, ResNetSpec
from resnet_core.analysis import tap_shapes
from resnet_core.architecture import layer_tree, output_name
from resnet_core.specification import BlockStride
from resnet_core.tap_paths import tap_nodes
from resnet_core.tree import (
    AveragePool,
    BatchNorm,
    BlurPool,
    Chain,
    Conv,
    FrozenNorm,
    Gate,
    GroupNorm,
    LayerNorm,
    Leaf,
    Linear,
    MaxPool,
    Node,
    Pad,
    PadChannels,
    ReLU,
    Residual,
    Subsample,
    leaves,
    walk,
)

TINY: dict[str, Any] = {"depths": (1, 2), "channels": (4, 8), "classes": 3}


def tree_leaves(spec: ResNetSpec) -> dict[str, Leaf]:
    return dict(leaves(layer_tree(spec)))


def blocks(spec: ResNetSpec) -> dict[str, Residual]:
    """Every residual block by its path."""
    return {path: node for path, node in walk(layer_tree(spec)) if isinstance(node, Residual)}


def names(chain: Chain) -> list[str]:
    return [name for name, _ in chain.children]


def test_names_of_a_basic_network_in_order() -> None:
    assert list(rn.state(ResNetSpec(**TINY, block="basic"))) == [
        *("stem.conv.weight", "stem.norm.weight", "stem.norm.bias", "stem.norm.running_mean", "stem.norm.running_var"),
        *norm_names("stage1.block1.conv1", "stage1.block1.norm1"),
        *norm_names("stage1.block1.conv2", "stage1.block1.norm2"),
        *norm_names("stage2.block1.conv1", "stage2.block1.norm1"),
        *norm_names("stage2.block1.conv2", "stage2.block1.norm2"),
        *norm_names("stage2.block1.shortcut.conv", "stage2.block1.shortcut.norm"),
        *norm_names("stage2.block2.conv1", "stage2.block2.norm1"),
        *norm_names("stage2.block2.conv2", "stage2.block2.norm2"),
        *("head.linear.weight", "head.linear.bias"),
    ]


def norm_names(conv: str, norm: str) -> list[str]:
    return [f"{conv}.weight", *(f"{norm}.{part}" for part in ("weight", "bias", "running_mean", "running_var"))]


def test_names_of_a_preactivation_network_in_order() -> None:
    spec = rn.spec("resnet_v2_50", depths=(1,), channels=(4,), conv_bias=(), classes=None)
    paths = [path for path, leaf in tree_leaves(spec).items() if leaf.tensors()]
    assert paths == [
        "stem.conv",
        *("stage1.block1.norm1", "stage1.block1.conv1", "stage1.block1.norm2", "stage1.block1.conv2"),
        *("stage1.block1.norm3", "stage1.block1.conv3", "stage1.block1.shortcut.conv"),
        "head.norm",
    ]


def test_the_named_convolutions_and_no_others_have_a_bias() -> None:
    place = {"stem.conv": "stem", "conv1": "inner", "conv2": "last", "shortcut.conv": "shortcut"}
    for chosen in place.values():
        for path, leaf in tree_leaves(ResNetSpec(**TINY, block="basic", conv_bias=(chosen,))).items():
            if isinstance(leaf, Conv):
                (here,) = [value for end, value in place.items() if path.endswith(end)]
                assert leaf.bias == (here == chosen), path


@given(spec=specs())
@example(spec=ResNetSpec(**TINY, block="basic", stem_pool="conv", antialias="average", deploy=True))
def test_every_relu_reads_what_nobody_else_reads(spec: ResNetSpec) -> None:
    """What a norm, an addition, a product, a pool or a layer with weights has made: a backend may rectify in place."""

    def check(node: Node, private: bool) -> bool:
        """Whether the node's output is read by its successor alone; `private` says that of its input."""
        if isinstance(node, Chain):
            for _, child in node.children:
                private = check(child, private)
            return private
        if isinstance(node, Residual):
            # What enters a block is read by body and shortcut both, unless `pre` has made something of its own.
            check(node.pre, False)
            check(node.body, False)
            check(node.shortcut, False)
            return check(node.post, True)
        if isinstance(node, Gate):
            check(node.body, False)
            return True  # a product is nobody else's
        assert not isinstance(node, ReLU) or private
        return isinstance(node, makers)

    makers = BatchNorm | FrozenNorm | GroupNorm | LayerNorm | Conv | Linear | AveragePool | BlurPool | MaxPool
    check(layer_tree(spec), False)


@given(spec=specs())
def test_body_and_shortcut_of_every_block_can_be_added_and_names_are_unique(spec: ResNetSpec) -> None:
    paths = [path for path, _ in leaves(layer_tree(spec))]
    assert len(set(paths)) == len(paths)
    assert list(rn.state(spec)) == list(dict.fromkeys(rn.state(spec)))
    pattern = r"(stem|stage[1-9]\d*\.block[1-9]\d*(\.(shortcut|se|eca))?|head)\.[a-z_]+[1-9]?"
    assert all(re.fullmatch(pattern, path) for path in paths)
    rn.layers(spec)  # raises where a body and its shortcut differ in shape


@given(spec=specs())
def test_an_output_stride_changes_no_tensor(spec: ResNetSpec) -> None:
    """Weights trained without dilation serve with it."""
    assert rn.state(spec) == rn.state(rn.spec(spec, output_stride=None))


@given(spec=specs(), data=st.data())
def test_taps_are_the_outputs_of_the_trees_children(spec: ResNetSpec, data: st.DataObject) -> None:
    size = data.draw(sizes(spec))
    last = {layer.path.split(".")[0]: layer.output_shape for layer in rn.layers(spec, size)}
    shapes = tap_shapes(spec, size)
    assert tuple(shapes) == rn.taps(spec)
    for tap, node in tap_nodes(layer_tree(spec), rn.taps(spec)).items():
        assert shapes[tap][-1] == last[node][-1]
    assert shapes[output_name(spec)] == rn.totals(spec, size).output_shape


@pytest.mark.parametrize(
    ("output_stride", "strides", "dilations"),
    [
        (None, [1, 2, 1, 2, 1, 2, 1], [1, 1, 1, 1, 1, 1, 1]),
        (32, [1, 2, 1, 2, 1, 2, 1], [1, 1, 1, 1, 1, 1, 1]),
        (16, [1, 2, 1, 2, 1, 1, 1], [1, 1, 1, 1, 1, 1, 2]),
        (8, [1, 2, 1, 1, 1, 1, 1], [1, 1, 1, 1, 2, 2, 4]),
        (4, [1, 1, 1, 1, 1, 1, 1], [1, 1, 2, 2, 4, 4, 8]),
    ],
)
def test_the_convolution_that_loses_its_stride_keeps_the_old_rate(
    output_stride: int | None, strides: list[int], dilations: list[int]
) -> None:
    """torchvision: replace_stride_with_dilation, by hand, for depths 1, 2, 2, 2."""
    spec = ResNetSpec(
        depths=(1, 2, 2, 2), channels=(4, 4, 8, 8), block="bottleneck", output_stride=output_stride, shortcut="pad"
    )
    convs = {path: leaf for path, leaf in tree_leaves(spec).items() if path.endswith("conv2")}
    assert [leaf.stride[0] for leaf in convs.values()] == strides  # type: ignore[attr-defined]
    assert [leaf.dilation[0] for leaf in convs.values()] == dilations  # type: ignore[attr-defined]
    for leaf in convs.values():
        assert isinstance(leaf, Conv)
        assert leaf.padding == ((leaf.dilation[0],) * 2,) * 2


def test_slims_rule_puts_the_stride_into_the_last_unit() -> None:
    """TF-slim's stack_blocks_dense at output stride 16, for depths 2, 2, 2, 2."""
    spec = rn.spec("resnet_v2_50", depths=(2, 2, 2, 2), channels=(4, 4, 8, 8), output_stride=16)
    convs = [leaf for path, leaf in tree_leaves(spec).items() if path.endswith("conv2")]
    assert [leaf.stride[0] for leaf in convs] == [1, 2, 1, 2, 1, 1, 1, 1]  # type: ignore[attr-defined]
    assert [leaf.dilation[0] for leaf in convs] == [1, 1, 1, 1, 1, 1, 2, 2]  # type: ignore[attr-defined]


def test_basic_blocks_take_the_new_rate_behind_the_lost_stride() -> None:
    """timm's first_dilation and dilation, by hand, for depths 1, 2, 2, 1 at output stride 8."""
    spec = ResNetSpec(depths=(1, 2, 2, 1), channels=(4, 4, 8, 8), block="basic", output_stride=8)
    convs = [leaf for path, leaf in tree_leaves(spec).items() if re.fullmatch(r"stage\d\.block\d\.conv\d", path)]
    assert [leaf.stride[0] for leaf in convs] == [1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1]  # type: ignore[attr-defined]
    assert [leaf.dilation[0] for leaf in convs] == [1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 4]  # type: ignore[attr-defined]


def test_a_stride_lost_on_the_first_one_by_one_dilates_the_three_by_three_of_its_block() -> None:
    spec = rn.spec("resnet50_v1", depths=(1, 2, 2, 1), channels=(4, 4, 8, 8), output_stride=8)
    convs = [leaf for path, leaf in tree_leaves(spec).items() if re.fullmatch(r"stage\d\.block\d\.conv2", path)]
    assert [leaf.dilation[0] for leaf in convs] == [1, 1, 1, 2, 2, 4]  # type: ignore[attr-defined]


def test_strides_other_than_two_multiply_the_rate() -> None:
    spec = ResNetSpec(depths=(1, 1, 2), channels=(4, 4, 4), block="basic", strides=(2, 3, 2), output_stride=8)
    assert spec.block_strides() == [
        [BlockStride(stride=2, nominal_stride=2, dilation=1, dilation_after=1)],
        [BlockStride(stride=1, nominal_stride=3, dilation=1, dilation_after=3)],
        [
            BlockStride(stride=1, nominal_stride=2, dilation=3, dilation_after=6),
            BlockStride(stride=1, nominal_stride=1, dilation=6, dilation_after=6),
        ],
    ]


def test_a_one_by_one_convolution_is_never_dilated() -> None:
    spec = rn.spec("resnet50", output_stride=8)
    for path, leaf in tree_leaves(spec).items():
        if isinstance(leaf, Conv) and leaf.kernel == (1, 1):
            assert leaf.dilation == (1, 1), path


@pytest.mark.parametrize(("stride_on", "expected"), [("3x3", [1, 2, 1]), ("1x1", [2, 1, 1])])
def test_the_stride_is_on_the_named_convolution(stride_on: str, expected: list[int]) -> None:
    found = tree_leaves(ResNetSpec(**TINY, block="bottleneck", stride_on=stride_on))  # type: ignore[arg-type]
    assert [found[f"stage2.block1.conv{n}"].stride[0] for n in (1, 2, 3)] == expected  # type: ignore[attr-defined]
    assert [found[f"stage2.block2.conv{n}"].stride[0] for n in (1, 2, 3)] == [1, 1, 1]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("shortcut", "first", "second", "third"),
    [  # unchanged width and stride; wider, stride 2; unchanged
        ("projection", [], ["conv", "norm"], []),
        ("projection_all", ["conv", "norm"], ["conv", "norm"], ["conv", "norm"]),
        ("subsample", [], ["conv", "norm"], []),
        ("pad", [], ["subsample", "pad"], []),
    ],
)
def test_shortcuts_by_kind(shortcut: str, first: list[str], second: list[str], third: list[str]) -> None:
    found = blocks(ResNetSpec(**TINY, block="basic", shortcut=shortcut))  # type: ignore[arg-type]
    assert [names(block.shortcut) for block in found.values()] == [first, second, third]


def test_a_subsampled_shortcut_where_only_the_stride_changes() -> None:
    spec = ResNetSpec(depths=(1, 1), channels=(4, 4), block="basic", shortcut="subsample")
    assert blocks(spec)["stage2.block1"].shortcut == Chain((("subsample", Subsample((2, 2))),))


def test_option_a_pads_channels_on_both_sides() -> None:
    spec = ResNetSpec(depths=(1, 1), channels=(4, 9), block="basic", shortcut="pad")
    assert tree_leaves(spec)["stage2.block1.shortcut.pad"] == PadChannels(2, 3)


def test_a_projection_reads_the_preactivation_and_an_identity_the_raw_input() -> None:
    found = blocks(ResNetSpec(**TINY, block="basic", preactivation=True))
    assert names(found["stage2.block1"].pre) == ["norm1", "relu1"]
    assert names(found["stage2.block1"].body) == ["conv1", "norm2", "relu2", "conv2"]
    assert names(found["stage2.block2"].pre) == []
    assert names(found["stage2.block2"].body) == ["norm1", "relu1", "conv1", "norm2", "relu2", "conv2"]


def test_a_post_activation_block_rectifies_after_the_addition() -> None:
    block = blocks(ResNetSpec(**TINY, block="bottleneck"))["stage1.block1"]
    assert names(block.body) == ["conv1", "norm1", "relu1", "conv2", "norm2", "relu2", "conv3", "norm3"]
    assert names(block.post) == ["relu3"]


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({}, ["stem", "stage1", "stage2", "logits"]),
        ({"stem": False}, ["stage1", "stage2", "logits"]),
        ({"classes": None}, ["stem", "stage1", "stage2", "features"]),
        ({"classes": None, "global_pool": False}, ["stem", "stage1", "stage2", "features"]),
    ],
)
def test_taps(fields: dict[str, Any], names: list[str]) -> None:
    assert list(rn.taps(ResNetSpec(**{**TINY, "block": "basic", **fields}))) == names


def test_the_tap_of_a_preactivation_stage_is_raw_and_the_post_norm_is_the_heads() -> None:
    spec = ResNetSpec(**TINY, block="basic", preactivation=True)
    assert tap_nodes(layer_tree(spec), rn.taps(spec)) == {
        "stem": "stem",
        "stage1": "stage1",
        "stage2": "stage2",
        "logits": "head",
    }
    head = dict(layer_tree(spec).children)["head"]
    assert isinstance(head, Chain)
    assert names(head) == ["norm", "relu", "pool", "linear"]


def test_one_linear_weight_serves_the_classifier_and_dense_prediction() -> None:
    pooled, dense = (ResNetSpec(**TINY, block="basic", global_pool=pool) for pool in (True, False))
    assert rn.state(pooled) == rn.state(dense)
    assert tree_leaves(dense)["head.linear"] == Linear(8, 3, dense=True)
    assert rn.totals(dense, (40, 33)).output_shape == (5, 5, 3)
    assert rn.totals(pooled, (40, 33)).output_shape == (3,)


@pytest.mark.parametrize(
    ("padding", "expected"),
    [
        ("symmetric", {"pool": MaxPool((3, 3), (2, 2), ((1, 1), (1, 1)))}),
        ("same", {"pool": MaxPool((3, 3), (2, 2), "same")}),
        ("zeros", {"pad": Pad(((1, 1), (1, 1))), "pool": MaxPool((3, 3), (2, 2))}),
    ],
)
def test_stem_pool_paddings(padding: str, expected: dict[str, Leaf]) -> None:
    stem = dict(layer_tree(ResNetSpec(**TINY, block="basic", stem_pool_padding=padding)).children)["stem"]  # type: ignore[arg-type]
    assert isinstance(stem, Chain)
    assert {name: leaf for name, leaf in stem.children if name in ("pad", "pool")} == expected


def test_norms_have_the_specs_epsilon_and_decay() -> None:
    for leaf in tree_leaves(rn.spec("resnet_v2_50", norm_epsilon=1e-3)).values():
        assert not isinstance(leaf, BatchNorm) or (leaf.epsilon, leaf.decay) == (1e-3, 0.997)


def test_only_three_by_three_convolutions_of_blocks_are_grouped() -> None:
    spec = rn.spec("resnext50_32x4d")
    for path, leaf in tree_leaves(spec).items():
        if isinstance(leaf, Conv):
            assert leaf.groups == (32 if path.endswith("conv2") else 1), path


def test_an_image_too_small_is_one_line_with_the_layers_path() -> None:
    spec = ResNetSpec(**TINY, block="basic", stem_kernel=4)
    with pytest.raises(InputError, match=r"^stem\.conv: kernel 4x4 \(dilation 1\) is larger .* received 1x9, padding"):
        rn.layers(spec, (1, 9))
    with pytest.raises(InputError, match=r"^input: received 0x9; expected at least 1x1$"):
        rn.layers(spec, (0, 9))


def test_height_and_width_are_not_swapped() -> None:
    assert tap_shapes(ResNetSpec(**TINY, block="basic"), (66, 35))["stem"] == (17, 9, 4)
