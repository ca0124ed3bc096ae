"""The Flax model is what NNX' users expect of an nnx.Module."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import resnet_core as rn
from conformance.narrow import NEWER, SPECS
from engines import CPU, QUICK
from resnet_core.architecture import layer_tree
from resnet_core.tree import Conv, leaves
from resnet_core.workers.parent import Worker

if TYPE_CHECKING:
    from conformance.conftest import Workers


@pytest.mark.parametrize("name", ["d2l", "slim", "grouped", "frozen"])
def test_split_merge_clone_and_jit(name: str, workers: Workers) -> None:
    result, _ = workers.call("flax", "native_flax:split_merge_clone", name=name)
    assert [claim for claim, held in result.items() if not held] == []


@pytest.mark.parametrize("name", ["slim", "dense"])
def test_compiled_for_onednn_it_is_the_same_network(name: str, workers: Workers) -> None:
    """Its float32 convolutions are then as NNX writes them."""
    found, _ = workers.call("flax", "native_flax:by_onednn", name=name)
    rewritten, direct = found["float32"]["convolutions"]
    assert direct == sum(isinstance(leaf, Conv) for _, leaf in leaves(layer_tree(SPECS[name])))
    assert rewritten != direct
    assert found["float64"]["convolutions"] == [rewritten, rewritten]
    for dtype, bound in (("float32", 1e-5), ("float64", 1e-12)):
        assert found[dtype]["error"] < bound < found[dtype]["of another network"]


@pytest.mark.parametrize("name", SPECS)
def test_the_state_has_the_neutral_paths_with_flaxs_own_last_segment(name: str, workers: Workers) -> None:
    found, _ = workers.call("flax", "native_flax:state_names", name=name)
    expected = {}
    for key, shape in rn.state(SPECS[name]).items():
        path, _, last = key.rpartition(".")
        kind = "BatchStat" if last.startswith("running") else "Param"
        weight = "kernel" if len(shape) > 1 else "scale"
        segment = {"weight": weight, "bias": "bias", "running_mean": "mean", "running_var": "var"}[last]
        native = [*shape[2:], shape[1], shape[0]] if len(shape) > 1 else list(shape)
        expected["/".join([*path.split("."), segment])] = [kind, native, "float32"]
    assert found == expected


@pytest.mark.parametrize("name", [*SPECS, *NEWER])
def test_a_state_that_is_written_is_taken_by_nnx_update(name: str, workers: Workers, tmp_path: Path) -> None:
    result, _ = workers.call("flax", "native_flax:state_from_a_file", name=name, folder=str(tmp_path))
    assert [claim for claim, held in result.items() if not held] == []


def test_a_printed_model_reads_like_the_network_that_it_now_is(workers: Workers) -> None:
    printed, _ = workers.call("flax", "native_flax:printed")
    lines = printed["resnet20"].splitlines()
    assert lines[0] == "ResNet(  # 269,722 parameters"
    assert len(lines) < 80
    assert max(map(len, lines)) < 100
    assert "    block1…block3: 3 x Residual(" in lines
    assert "      shortcut: identity" in lines
    assert "    linear: LoRA(" in printed["with another head"]
    assert "block1…block3" not in printed["with another block"]
    newer = [line.strip() for name in NEWER for line in printed[name].splitlines()]
    assert max(map(len, newer)) < 100
    for line in (
        "norm: FrozenNorm(epsilon=1e-05)",
        "norm: GroupNorm(4, groups=2, epsilon=1e-05)",
        "norm: LayerNorm(4, epsilon=1e-05)",
        "conv: ChannelConv(kernel=(3,))",
        "se: Gate(",
        "activation: Activation(function=gelu_tanh)",
        "dropout: Dropout(rate=0.2)",
    ):
        assert line in newer


def test_nnxs_own_functions_show_a_model(workers: Workers) -> None:
    shown, _ = workers.call("flax", "native_flax:nnx_shows")
    rows = [line.split("│")[1].strip() for line in shown["tabulate"].splitlines() if line.count("│") > 2]
    assert [name for name in rows if name.isalnum()] == ["stem", "stage1", "stage2", "stage3", "head"]
    assert "269,722" in shown["tabulate"]  # its parameters
    assert "ResNet" in shown["display"]


@pytest.mark.parametrize("everything", [False, pytest.param(True, marks=pytest.mark.long)])
def test_convolutions_of_small_maps_are_xlas_and_not_left_to_it(everything: bool, workers: Workers) -> None:
    found, _ = workers.call("flax", "native_flax:small_maps", everything=everything)
    assert len(found["right"]) == (24 if everything else 12)
    assert max(found["right"].values()) < 1e-12  # right code reaches 1.4e-14
    assert min(found["shifted"].values()) > 1e-2
    assert "(2, 2) (1, 1) SAME" in found["products"]
    assert "(5, 7) (1, 1) SAME" not in found["products"]


def test_what_is_computed_in_another_form_is_the_same(workers: Workers) -> None:
    """Groups, strided 1x1, max-pools and batch norms, and their gradients, beside XLA's and NNX's own."""
    found, _ = workers.call("flax", "native_flax:other_forms")
    assert len(found["right"]) == 11
    assert max(found["right"].values()) < 1e-12, found["right"]
    assert min(found["shifted"].values()) > 1e-2, found["shifted"]


def test_equal_blocks_in_a_loop_are_the_network_and_keep_their_order(workers: Workers) -> None:
    found, _ = workers.call("flax", "native_flax:loops")
    assert found["loops"] == {"evaluating": 1, "one block in another mode": 0}
    assert found["errors"].pop("swapped") > 1e-2
    assert {what: error for what, error in found["errors"].items() if error > 1e-12} == {}


def test_xla_is_told_not_to_hand_sums_on() -> None:
    """What the user says comes behind and is kept."""
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
    with Worker(environment={**CPU, "PYTHONPATH": path, "XLA_FLAGS": "--xla_dump_hlo_as_text"}) as worker:
        found, _ = worker.call("native_flax:flags")
    assert found["flags"] == "--xla_cpu_experimental_ynn_fusion_type= --xla_dump_hlo_as_text"
    assert [key for key, (total, right) in found["sums"].items() if total != right] == []


def test_the_stems_kernel_is_two_dimensional(workers: Workers) -> None:
    """A plain 7 as kernel_size would make a one-dimensional convolution."""
    found, _ = workers.call("flax", "native_flax:state_names", name="d2l")
    assert found["stem/conv/kernel"] == ["Param", [7, 7, 2, 4], "float32"]


@pytest.mark.parametrize("name", ["d2l", "slim"])
def test_modes_are_nnxs_and_predict_leaves_them_alone(name: str, workers: Workers) -> None:
    result, _ = workers.call("flax", "native_flax:modes", name=name)
    assert [claim for claim, held in result.items() if not held] == []


def test_random_layers_are_random_in_training_mode_only(workers: Workers) -> None:
    found, _ = workers.call("flax", "native_flax:random_layers", name="gentle")
    assert [claim for claim, held in found.items() if not held] == []


@pytest.mark.parametrize("name", ["slim", *(pytest.param(name, marks=pytest.mark.long) for name in ("d2l", "cifar"))])
def test_grad_and_optimizer_lower_the_loss(name: str, workers: Workers) -> None:
    losses, _ = workers.call("flax", "native_flax:trained", name=name)
    assert losses[-1] < 0.5 * losses[0]


def test_a_float64_model_is_really_float64_and_leaves_the_process_as_it_was(workers: Workers) -> None:
    result, _ = workers.call("flax", "native_flax:float64", name="slim")
    assert result == {"dtypes": ["float64"], "x64 afterwards": False}


def test_a_batch_that_lies_on_two_devices_is_one_batch() -> None:
    """For norms too: XLA computes their statistics over both."""
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
    flags = f"{QUICK['XLA_FLAGS']} --xla_force_host_platform_device_count=2"
    worker = Worker(environment={**QUICK, **CPU, "PYTHONPATH": path, "XLA_FLAGS": flags})
    try:
        found, _ = worker.call("native_flax:sharded")
    finally:
        worker.close()
    assert found["devices"] == 2
    assert found["shared"] < 5e-5  # what float32 gradients of a narrow network may be off by; 4.6e-6 was seen
    assert found["halves"] > 0.1  # 1.2 was seen
