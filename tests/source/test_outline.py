"""The outline is the tree: what it expands to is what it was found in, for every network."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings

import random_specs
import resnet_core as rn
from network_kinds import EVERY_NAME
from resnet_core import tree
from resnet_core.anti_unification import outline
from resnet_core.errors import InputError
from resnet_core.expressions import Code, Family
from resnet_core.outline import expand, numbers
from resnet_core.rewrite import rewrite


@pytest.mark.parametrize("name", EVERY_NAME)
def test_every_named_network_folds_and_unfolds(name: str) -> None:
    network = rn.layer_tree(rn.spec(name))
    assert expand(outline(network)) == network


@given(spec=random_specs.specs())
@settings(max_examples=200, deadline=None)
def test_random_networks_fold_and_unfold(spec: rn.ResNetSpec) -> None:
    network = rn.layer_tree(spec)
    assert expand(outline(network)) == network


@pytest.mark.parametrize("output_stride", [4, 8, 16])
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet_v2_50", "resnext50_32x4d"])
def test_dilated_networks_fold_and_unfold(name: str, output_stride: int) -> None:
    network = rn.layer_tree(rn.spec(name, output_stride=output_stride))
    assert expand(outline(network)) == network


def test_deeper_networks_have_the_same_definitions() -> None:
    shallow, deep = (outline(rn.layer_tree(rn.spec(name))) for name in ("resnet50", "resnet152"))
    assert (shallow.helpers, shallow.block, shallow.loop) == (deep.helpers, deep.block, deep.loop)
    depths = [part.arguments["depth"] for part in deep.parts if part.arguments]
    assert depths == [3, 8, 36, 3]


def test_what_separates_two_networks_is_what_separates_their_outlines() -> None:
    """The stride stands at another convolution, and nothing else differs."""
    now, then = (outline(rn.layer_tree(rn.spec(name))) for name in ("resnet50", "resnet50_v1"))
    differing = {
        (step.name, field)
        for step, other in zip(now.block.body, then.block.body, strict=True)
        for field in step.numbers
        if step.numbers[field] != other.numbers[field]
    }
    assert differing == {("conv1", "stride"), ("conv2", "stride")}
    assert (now.helpers, now.loop, now.parts) == (then.helpers, then.loop, then.parts)


def test_a_condition_is_found_not_known() -> None:
    forms = outline(rn.layer_tree(rn.spec("resnet_v2_50"))).block.forms
    assert [(form.condition, form.reads) for form in forms] == [
        ("in_channels != out_channels", 2),
        ("stride != 1", 0),
        (None, 0),
    ]
    with_flag = outline(rn.layer_tree(rn.spec("resnet18", channels=(64, 64, 64, 64), output_stride=4)))
    assert with_flag.block.forms[0].condition == "project"


def test_an_expression_must_hold_for_every_member() -> None:
    family = Family()
    family.add("channels", "width", {0: 2, 1: 4, 2: 8})
    assert family.find("width", {0: 8, 1: 16, 2: 32}, ["4 * channels"]) == Code("4 * channels")
    assert family.find("width", {0: 8, 1: 16, 2: 31}, ["4 * channels"]) is None
    assert family.find("stride", {0: 2, 1: 4, 2: 8}) is None  # a width is no stride
    assert family.find("stride", {0: 1, 1: 1}) == 1
    assert family.find("bias", {0: True, 1: 1}) is None  # True is no 1


def test_a_changed_outline_is_another_tree() -> None:
    """The equality above sees every number: each of them, changed by one, is found."""
    network = rn.layer_tree(rn.spec("resnet50", depths=(2, 1), channels=(4, 6)))
    found = outline(network)
    changed = 0
    for place, step in enumerate(found.block.body):
        for field, value in step.numbers.items():
            planted = replace(step, numbers={**step.numbers, field: Code(f"{value} + 1")})
            body = (*found.block.body[:place], planted, *found.block.body[place + 1 :])
            assert expand(replace(found, block=replace(found.block, body=body))) != network
            changed += 1
    assert changed > 10


def test_a_hand_made_variant_folds_too() -> None:
    """ResNet-D's shortcut, which no spec makes: an average over the stride before a projection that has none."""

    def averaging(block: tree.Residual) -> tree.Node:
        children = dict(block.shortcut.children)
        conv = children.get("conv")
        if not isinstance(conv, tree.Conv) or conv.stride == (1, 1):
            return block
        pool = tree.AveragePool(conv.stride, conv.stride)
        chain = (("pool", pool), ("conv", replace(conv, stride=(1, 1))), ("norm", children["norm"]))
        return replace(block, shortcut=tree.Chain(chain))

    network = rewrite(rn.layer_tree(rn.spec("resnet50")), tree.Residual, averaging)
    found = outline(network)
    assert expand(found) == network
    projection = found.block.forms[0]
    assert [step.name for step in projection.chain] == ["pool", "conv", "norm"]
    assert projection.chain[0].numbers == {"kernel": 2, "stride": "stride", "dilation": 1, "partial": False}
    assert projection.chain[0].condition == "stride != 1"


def test_what_has_no_program_is_one_line() -> None:
    with pytest.raises(InputError, match="only square ones"):
        numbers(tree.MaxPool((3, 2), (2, 2)))
    with pytest.raises(InputError, match="without residual blocks"):
        outline(tree.Chain((("stem", tree.Chain((("relu", tree.ReLU()),))),)))
