"""The PyTorch model is what PyTorch's users expect of an nn.Module."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import resnet_core as rn
from conformance.narrow import NEWER, SPECS
from network_kinds import KINDS

if TYPE_CHECKING:
    from conformance.conftest import Workers

NAMES = list(SPECS)
ALL = [*SPECS, *NEWER]


@pytest.mark.parametrize("name", ALL)
def test_a_deep_copy_computes_the_same_and_is_independent(name: str, workers: Workers) -> None:
    result, _ = workers.call("torch", "native_torch:deepcopy_is_independent", name=name)
    assert result == {"same": True, "independent": True}


@pytest.mark.long
def test_torchvisions_feature_extractor_takes_the_model() -> None:
    """In an environment of its own: PyPI's torchvision does not import beside a CPU build of PyTorch."""
    if not (python := os.environ.get("RESNET_TORCHVISION_PYTHON")):
        pytest.skip("RESNET_TORCHVISION_PYTHON names no interpreter that has torchvision")
    script = Path(__file__).with_name("torchvision_features.py")
    done = subprocess.run([python, "-I", str(script)], capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("True") == 9


def test_gray_images_are_not_taken_for_channels_last(workers: Workers) -> None:
    """PyTorch's norms are far less exact there, and a view of one channel looks like it."""
    found, _ = workers.call("torch", "native_torch:gray_images")
    assert found["strides"] == [96 * 96, 96 * 96, 96, 1]
    assert found["error"] < 5e-6  # reaches 6.4e-7
    assert found["channels_last"] > 1e-5  # reaches 4.3e-5


def test_float32_is_float32_whatever_ran_before(workers: Workers) -> None:
    found, _ = workers.call("torch", "native_torch:float32_alone")
    assert found == [["ieee"] * 5] * 2


# The whole graph is taken or not ahead of the backend; PyTorch's own compiler takes a minute for the tiniest network.
# Every layer of the other two is in the graphs of `test_pytorchs_tools_work`.
@pytest.mark.parametrize(
    ("name", "backend"),
    [
        *((name, "aot_eager") for name in ("d2l", "slim")),
        *(pytest.param(name, "aot_eager", marks=pytest.mark.long) for name in ALL if name not in ("d2l", "slim")),
        pytest.param("tiny", "inductor", marks=pytest.mark.long),
    ],
)
def test_torch_compile_takes_the_whole_graph_at_several_sizes(name: str, backend: str, workers: Workers) -> None:
    errors, _ = workers.call("torch", "native_torch:compiled", name=name, backend=backend)
    assert len(errors) == 2
    assert max(errors.values()) < 1e-5


def test_torch_compile_trains_the_same(workers: Workers) -> None:
    gradients, statistics = workers.call("torch", "native_torch:compiled_training", name="d2l")[0]
    assert gradients < 1e-4
    assert statistics < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_the_state_dict_has_the_neutral_names_and_pytorchs_counters(name: str, workers: Workers) -> None:
    found, _ = workers.call("torch", "native_torch:state_names", name=name)
    neutral = {key: list(shape) for key, shape in rn.state(SPECS[name]).items()}
    counters = {key.replace("running_var", "num_batches_tracked"): [] for key in neutral if key.endswith("running_var")}
    assert counters
    assert found == {**neutral, **counters}


@pytest.mark.parametrize("name", ALL)
def test_a_neutral_file_loads_strictly_without_us(name: str, tmp_path: Path, workers: Workers) -> None:
    spec = {**SPECS, **NEWER}[name]
    weights = rn.probe_weights(spec)
    rn.save_weights(tmp_path / "w.safetensors", weights, spec)
    result, found = workers.call("torch", "native_torch:load_strictly", name=name, path=str(tmp_path / "w.safetensors"))
    assert (result["missing"], result["unexpected"]) == ([], [])
    assert set(result["counters"]) <= {0}
    for key, array in weights.items():
        np.testing.assert_array_equal(found[key], array)


def test_strict_loading_still_notices_a_missing_tensor(tmp_path: Path, workers: Workers) -> None:
    rn.save_weights(tmp_path / "w.safetensors", rn.initialize(SPECS["d2l"]), SPECS["d2l"])
    message, _ = workers.call("torch", "native_torch:load_incomplete", name="d2l", path=str(tmp_path / "w.safetensors"))
    assert 'Missing key(s) in state_dict: "stem.norm.running_var"' in message


def test_modes_are_pytorchs_and_predict_leaves_them_alone(workers: Workers) -> None:
    result, _ = workers.call("torch", "native_torch:modes", name="d2l")
    assert [claim for claim, held in result.items() if not held] == []


@pytest.mark.parametrize("name", ALL)
def test_torch_save_keeps_the_model(name: str, workers: Workers) -> None:
    assert workers.call("torch", "native_torch:saved", name=name)[0] == [True, True]


def test_a_printed_model_shows_stem_stages_blocks_and_head(workers: Workers) -> None:
    text, _ = workers.call("torch", "native_torch:printed", name="slim")
    for line in (
        "(stem): Sequential(",
        "(stage1): Sequential(",
        "(block1): Residual(",
        "(conv2): Conv2d(4, 4, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)",
        "(shortcut): Sequential(",
        "(head): Sequential(",
        "(linear): Linear(in_features=24, out_features=3, bias=True)",
    ):
        assert line in text
    order = [text.index(f"({part}):") for part in ("stem", "stage1", "stage2", "head")]
    assert order == sorted(order)


@pytest.mark.parametrize("name", ["slim", *(pytest.param(name, marks=pytest.mark.long) for name in ("d2l", "cifar"))])
def test_pytorchs_own_training_lowers_the_loss(name: str, workers: Workers) -> None:
    losses, _ = workers.call("torch", "native_torch:trained", name=name)
    assert losses[-1] < 0.5 * losses[0]


def test_random_layers_are_random_in_training_mode_only(workers: Workers) -> None:
    found, _ = workers.call("torch", "native_torch:random_layers", name="gentle")
    assert [claim for claim, held in found.items() if not held] == []


def test_the_users_images_are_never_changed(workers: Workers) -> None:
    assert workers.call("torch", "native_torch:input_is_kept")[0] is True


@pytest.mark.parametrize("name", ALL)
def test_channels_last_and_autocast_work(name: str, workers: Workers) -> None:
    last, half = workers.call("torch", "native_torch:channels_last_and_half", name=name)[0]
    assert last < 1e-5
    assert half < 0.1


@pytest.mark.parametrize("name", ALL)
def test_pytorchs_tools_work(name: str, tmp_path: Path, workers: Workers) -> None:
    found, _ = workers.call("torch", "native_torch:idioms", name=name, folder=str(tmp_path))
    assert [claim for claim, held in found.items() if not held] == []


def test_features_that_end_behind_the_pool_are_noticed(workers: Workers) -> None:
    found, _ = workers.call("torch", "native_torch:wrong_features")
    assert found == ["num_features are the channels of the map"]


def test_pytorch_counts_the_same_multiply_accumulates(workers: Workers, request: pytest.FixtureRequest) -> None:
    """Of the zoo, at full size, one of each kind or with `--long` all: a count that is not ours."""
    every = [name for name in rn.names() if "1202" not in name]  # seconds, and the same blocks as resnet110
    names = every if request.config.getoption("--long") else list(KINDS)
    found, _ = workers.call("torch", "native_torch:counted_macs", names=names)
    assert found == {name: rn.totals(rn.spec(name)).macs for name in names}


@pytest.mark.long
def test_inductor_compiles_the_deepest_network(workers: Workers) -> None:
    """It descends once for each layer, which is deeper than Python allows by itself."""
    found, _ = workers.call("torch", "native_torch:deep")
    assert found.pop("as usual") == "InductorError"
    assert found["as deep as the network"] < 1e-5
