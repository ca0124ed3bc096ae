"""What every node of a layer tree may rely on: roles, one interface of combinators, one walk and one rewrite."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import pytest
from hypothesis import given

import resnet_core as rn
from node_kinds import COMBINATORS, LEAVES
from random_specs import specs
from resnet_core import InputError, ResNetSpec
from resnet_core.analysis import parameters, state, tensors, trace
from resnet_core.architecture import layer_tree, tree_of
from resnet_core.initialization import fans, residual_ends
from resnet_core.rewrite import rewrite
from resnet_core.training.running_variance import variance_corrections
from resnet_core.tree import (
    BatchNorm,
    Chain,
    ChannelConv,
    Combinator,
    Conv,
    FrozenNorm,
    GlobalAveragePool,
    GroupNorm,
    LayerNorm,
    Leaf,
    Linear,
    Node,
    ReLU,
    Residual,
    Shape,
    Tensor,
    leaves,
    walk,
)

ROLES_OF_NAMES = {
    Conv: {"weight": "kernel", "bias": "bias"},
    Linear: {"weight": "kernel", "bias": "bias"},
    ChannelConv: {"weight": "kernel"},
    GroupNorm: {"weight": "scale", "bias": "shift"},
    LayerNorm: {"weight": "scale", "bias": "shift"},
    BatchNorm: {"weight": "scale", "bias": "shift", "running_mean": "statistic", "running_var": "statistic"},
    FrozenNorm: dict.fromkeys(("weight", "bias", "running_mean", "running_var"), "statistic"),
}


@dataclass(frozen=True, slots=True)
class Highway(Combinator):
    """y = x * body(x), at every position: a combinator that the project does not have."""

    body: Chain

    def parts(self) -> tuple[tuple[str, Node], ...]:
        return (("gate", self.body),)

    def with_parts(self, parts: Sequence[Node]) -> Highway:
        (body,) = parts
        assert isinstance(body, Chain)
        return replace(self, body=body)

    def output_shape(self, shape: Shape, parts: Sequence[Callable[[Shape], Shape]]) -> Shape:
        (body,) = parts
        if (gate := body(shape)) != shape[-1:]:
            raise InputError(f"the gate gives {gate} for {shape}; expected a value per channel")
        return shape


GATE = Highway(Chain((("pool", GlobalAveragePool()), ("squeeze", Linear(4, 4)))))
BLOCK = Residual(
    pre=Chain(),
    body=Chain((("conv1", Conv(4, 4, (1, 1))), ("norm1", BatchNorm(4, 1e-5, 0.9)), ("se", GATE))),
    shortcut=Chain((("gated", GATE),)),
    post=Chain((("relu", ReLU()),)),
)
TREE = Chain((("stage1", Chain((("block1", BLOCK),))),))
INSIDE = "stage1.block1"


@given(spec=specs())
def test_every_tensor_of_a_network_has_the_role_of_its_name(spec: ResNetSpec) -> None:
    for path, leaf in leaves(layer_tree(spec)):
        for name, tensor in leaf.tensors().items():
            assert tensor.role == ROLES_OF_NAMES[type(leaf)][name], path
            assert (tensor.role == "kernel") == (len(tensor.shape) > 1), "layouts go by the rank"


@given(spec=specs())
def test_the_tensors_of_a_spec_are_those_of_its_tree(spec: ResNetSpec) -> None:
    tree = layer_tree(spec)
    assert list(tensors(spec).items()) == list(tensors(tree).items())
    assert (rn.state(spec), rn.parameters(spec)) == (state(tree), parameters(tree))
    assert (rn.layers(spec), rn.totals(spec).output_shape) == trace(tree, (*spec.input_size, spec.in_channels))
    assert rn.totals(spec).parameters == sum(map(prod, rn.parameters(spec).values()))
    assert rn.totals(spec).state == sum(map(prod, rn.state(spec).values()))


@pytest.mark.parametrize("name", ["resnet20", "resnet_v2_50"])
def test_the_running_variance_is_corrected_by_a_spec_and_by_its_tree_alike(name: str) -> None:
    spec = rn.spec(name)
    corrections = variance_corrections(layer_tree(spec), (2, 40, 33, 3))
    assert corrections == variance_corrections(spec, (2, 40, 33, 3))
    assert list(corrections) == [tensor for tensor in rn.state(spec) if tensor.endswith("running_var")]


def test_the_fans_of_a_kernel() -> None:
    assert fans((6, 2, 3, 5)) == (2 * 15, 6 * 15)  # of a grouped convolution: its group's inputs, all outputs
    assert fans((7, 4)) == (4, 7)


def test_a_new_combinator_is_walked_without_an_edit() -> None:
    assert [path for path, _ in leaves(TREE)] == [
        *(f"{INSIDE}.conv1", f"{INSIDE}.norm1", f"{INSIDE}.se.gate.pool", f"{INSIDE}.se.gate.squeeze"),
        *(f"{INSIDE}.shortcut.gated.gate.pool", f"{INSIDE}.shortcut.gated.gate.squeeze", f"{INSIDE}.relu"),
    ]
    assert [path for path, node in walk(TREE) if isinstance(node, Highway)] == [
        f"{INSIDE}.se",
        f"{INSIDE}.shortcut.gated",
    ]
    assert list(tensors(TREE))[-2:] == [
        f"{INSIDE}.shortcut.gated.gate.squeeze.weight",
        f"{INSIDE}.shortcut.gated.gate.squeeze.bias",
    ]
    assert list(residual_ends(TREE)) == [f"{INSIDE}.se.gate.squeeze"]


def test_a_new_combinator_is_counted_without_an_edit() -> None:
    found, output = trace(TREE, (6, 5, 4))
    assert output == (6, 5, 4)
    assert [layer.path for layer in found] == [path for path, _ in leaves(TREE)]
    assert sum(layer.macs for layer in found) == 6 * 5 * 16 + 16 + 16
    assert sum(layer.parameters for layer in found) == 16 + 8 + 20 + 20
    assert sum(layer.state for layer in found) == 16 + 16 + 20 + 20


def test_an_error_of_a_combinator_has_its_path_once() -> None:
    wrong = rewrite(TREE, Linear, lambda linear: replace(linear, out_features=3))
    with pytest.raises(
        InputError, match=rf"^{INSIDE}\.se: the gate gives \(3,\) for \(6, 5, 4\); expected a value"
    ) as error:
        trace(wrong, (6, 5, 4))
    assert error.type is InputError
    with pytest.raises(InputError, match=r"^the gate gives"):
        trace(Highway(Chain((("pool", GlobalAveragePool()), ("squeeze", Linear(4, 3))))), (6, 5, 4))
    wider = Residual(Chain(), Chain((("conv1", Conv(4, 5, (1, 1))),)), Chain(), Chain())
    with pytest.raises(InputError, match=r"^block1: the body gives \(6, 5, 5\) and the shortcut \(6, 5, 4\); they"):
        trace(Chain((("block1", wider),)), (6, 5, 4))
    with pytest.raises(InputError, match=r"^block1\.conv1: kernel 3x3 .* is larger than its padded input"):
        trace(Chain((("block1", Chain((("conv1", Conv(4, 5, (3, 3))),))),)), (2, 2, 4))


def test_a_new_combinator_is_rewritten_without_an_edit() -> None:
    squeezed = rewrite(TREE, Linear, lambda linear: replace(linear, bias=False))
    assert [leaf for _, leaf in leaves(squeezed) if isinstance(leaf, Linear)] == [Linear(4, 4, bias=False)] * 2
    ungated = rewrite(TREE, Highway, lambda gate: Chain())
    assert [path for path, _ in leaves(ungated)] == [f"{INSIDE}.{name}" for name in ("conv1", "norm1", "relu")]
    assert [path for path, _ in leaves(TREE)] != [path for path, _ in leaves(ungated)]


def test_a_rewritten_part_is_what_the_change_of_its_whole_sees() -> None:
    def ungated(node: Combinator) -> Node:
        if isinstance(node, Residual):
            assert not any(isinstance(inside, Highway) for _, inside in walk(node))
        return Chain() if isinstance(node, Highway) else node

    assert not any(isinstance(node, Highway) for _, node in walk(rewrite(TREE, Combinator, ungated)))


def test_what_a_rewrite_leaves_as_it_was_is_shared() -> None:
    assert rewrite(TREE, Leaf, lambda leaf: leaf) is TREE
    tree = layer_tree(rn.spec("resnet18"))
    changed = rewrite(tree, Linear, lambda linear: replace(linear, bias=False))
    before, after = dict(tree.children), dict(changed.children)
    assert {name for name in before if before[name] is not after[name]} == {"head"}


def test_a_rewrite_that_leaves_no_chain_where_one_must_be_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^root of the tree: received ReLU; expected a Chain$"):
        rewrite(Chain(), Chain, lambda chain: ReLU())
    block = Chain((("block1", Residual(Chain(), Chain(), Chain(), Chain())),))
    with pytest.raises(TypeError, match=r"^Residual: received ReLU, ReLU, ReLU, ReLU; expected chains$"):
        rewrite(block, Chain, lambda chain: ReLU())


@pytest.mark.parametrize("node", [Chain((("relu", ReLU()),)), BLOCK, GATE], ids=lambda node: type(node).__name__)
def test_a_combinator_of_its_own_parts_is_itself(node: Combinator) -> None:
    assert node.with_parts([part for _, part in node.parts()]) == node
    with pytest.raises((ValueError, TypeError)):
        node.with_parts([])


def test_every_kind_of_node_says_how_its_shapes_go_together() -> None:
    for kind in COMBINATORS:
        assert {"parts", "with_parts", "output_shape"} <= vars(kind).keys(), kind
    assert {Conv, Linear, BatchNorm} <= set(LEAVES)


def test_equal_trees_have_equal_hashes_and_unequal_ones_are_unequal() -> None:
    spec = rn.spec("resnet152")
    tree, again = layer_tree(spec), tree_of.__wrapped__(spec)
    assert again is not tree
    assert (again, hash(again)) == (tree, hash(tree))
    other = layer_tree(rn.spec(spec, norm_epsilon=1e-3))
    assert other != tree
    assert hash(other) != hash(tree)
    assert "hash" not in repr(tree)


class Counting(Chain):
    """A chain that counts how often it is hashed in full."""

    __slots__ = ()
    hashed = 0

    def __hash__(self) -> int:
        Counting.hashed += 1
        return 7


def test_a_tree_is_hashed_once() -> None:
    tree = Chain((("stage1", Counting()),))
    assert len({hash(tree) for _ in range(5)}) == 1
    assert Counting.hashed == 1


def test_a_copy_hashes_anew() -> None:
    """Hashes of text differ from process to process: one that came along with a pickle would be wrong."""
    hash(TREE)
    assert copy.deepcopy(BLOCK) == pickle.loads(pickle.dumps(BLOCK)) == BLOCK
    tree = layer_tree(rn.spec("resnet18"))
    hash(tree)
    program = (
        "import pickle, sys; import resnet_core as rn\n"
        "tree, fresh = pickle.loads(sys.stdin.buffer.read()), rn.layer_tree(rn.spec('resnet18'))\n"
        "assert tree == fresh and hash(tree) == hash(fresh)\n"
        "print(hash(tree))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            input=pickle.dumps(tree),
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            check=True,
        ).stdout
        for seed in (1, 2)
    }
    assert len(found) == 2


def test_a_tensor_is_its_shape_and_role() -> None:
    assert Conv(3, 4, (5, 1), bias=True).tensors() == {
        "weight": Tensor((4, 3, 5, 1), "kernel"),
        "bias": Tensor((4,), "bias"),
    }
