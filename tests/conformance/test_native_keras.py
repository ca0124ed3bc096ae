"""The Keras model is what Keras' users expect, made of nothing that is ours, on each of Keras' backends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import resnet_core as rn
from conformance.narrow import SPECS
from engines import CPU, ENGINES
from resnet_core import InputError
from resnet_core.spec_files import to_json
from resnet_core.workers.parent import Worker

if TYPE_CHECKING:
    from conformance.conftest import Workers

KERAS = [engine for engine, (backend, _) in ENGINES.items() if backend == "keras"]

# Opens models in a process in which nothing of ours can be imported.
OPEN = """
import sys

class NothingOfOurs:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("resnet"):
            raise ModuleNotFoundError(f"{name} is not installed here")

sys.meta_path.insert(0, NothingOfOurs())
import keras
import numpy as np

for path in sys.argv[1:]:
    model = keras.models.load_model(path)
    output = model.predict_on_batch(np.load(path + ".npz")["images"])
    np.savez(path + ".out.npz", **(output if isinstance(output, dict) else {"": output}))
assert not [name for name in sys.modules if name.startswith("resnet")]
"""


@pytest.mark.parametrize("engine", KERAS)
def test_a_saved_model_opens_without_us_and_computes_the_same_bits(
    engine: str, tmp_path: Path, workers: Workers
) -> None:
    expected = {}
    for name in SPECS:
        for taps in ([], ["stage1", "logits"]) if name == "slim" else ([],):
            path = str(tmp_path / f"{name}{len(taps)}.keras")
            _, arrays = workers.call(engine, "native_keras:save", name=name, path=path, taps=taps)
            np.savez(path + ".npz", images=arrays.pop("images"))
            expected[path] = arrays
    environment = {
        **{key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        **ENGINES[engine][1],
        **CPU,
    }
    command = [sys.executable, "-P", "-c", OPEN, *expected]
    process = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert process.returncode == 0, process.stderr[-3000:]
    for path, arrays in expected.items():
        with np.load(path + ".out.npz") as found:
            assert set(found) == set(arrays)
            for key, value in arrays.items():
                np.testing.assert_array_equal(found[key], value, err_msg=f"{path} {key}")


@pytest.mark.parametrize("name", SPECS)
def test_only_built_in_layers_and_operations_are_used(name: str, tmp_path: Path, workers: Workers) -> None:
    found, _ = workers.call("keras", "native_keras:classes", name=name, path=str(tmp_path / "m.keras"))
    layers = {kind for _, kind, _ in found}
    assert {"Conv2D", "BatchNormalization", "Add", "Dense", "Functional"} <= layers
    assert "Lambda" not in layers
    for module, kind, registered in found:
        if kind != "__keras_tensor__":
            assert str(module).split(".")[0] in ("keras", "builtins"), (module, kind)
            assert registered in (None, kind)  # a registered custom class is "package>name"


@pytest.mark.parametrize("name", ["d2l", "slim"])
@pytest.mark.parametrize("engine", KERAS)
def test_fit_runs_and_lowers_the_loss(engine: str, name: str, workers: Workers) -> None:
    result, _ = workers.call(engine, "native_keras:fit", name=name)
    assert result["losses"][-1] < 0.5 * result["losses"][0]
    assert {"stem.conv.weight", "head.linear.bias", "stage1.block1.norm1.running_var"} <= set(result["moved"])


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("engine", KERAS)
def test_every_variable_has_a_path_of_its_own(engine: str, name: str, workers: Workers) -> None:
    """Keras' PyTorch backend registers variables by path: one that another replaces keeps its old gradients."""
    (paths, known), _ = workers.call(engine, "native_keras:paths", name=name)
    assert len(paths) == len(set(paths))
    assert known in (-1, len(paths))


def test_a_summary_shows_stem_stages_and_head_and_nested_every_layer(workers: Workers) -> None:
    short, _ = workers.call("keras", "native_keras:summary", name="slim", nested=False)
    assert [part for part in ("stem", "stage1", "stage2", "head") if part not in short] == []
    assert "conv1" not in short
    long, _ = workers.call("keras", "native_keras:summary", name="slim", nested=True)
    for part in ("block1", "conv1", "norm3", "shortcut", "linear"):
        assert part in long


def test_models_nest_as_the_tree_does_and_take_any_size(workers: Workers) -> None:
    (top, stage, shapes), _ = workers.call("keras", "native_keras:names_of", name="d2l")
    assert top == ["images", "stem", "stage1", "stage2", "head"]
    assert stage == ["input", "block1", "block2"]
    assert shapes == [[None, None, None, 2], [None, 3]]


@pytest.mark.parametrize("engine", KERAS)
def test_a_network_of_110_layers_builds_saves_and_opens(engine: str, tmp_path: Path, workers: Workers) -> None:
    assert workers.call(engine, "native_keras:deep", path=str(tmp_path / "m.keras"))[0] is True


@pytest.mark.parametrize("engine", KERAS)
def test_a_network_may_have_any_name(engine: str, workers: Workers) -> None:
    names = ["a/b.c", "größe 漢", "_x", "-"]
    shapes, _ = workers.call(engine, "native_keras:odd_names", names=names)
    assert shapes == [[2, 3]] * len(names)


@pytest.mark.parametrize("configured", [False, True])
def test_keras_on_jax_refuses_float64_until_it_is_configured(configured: bool) -> None:
    """JAX's 64-bit mode is global to the process; without it float64 would silently be float32."""
    weights = rn.probe_weights(SPECS["slim"], dtype="float64")
    with Worker(environment={"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}) as engine:
        if configured:
            engine.call("open_backend", backend="keras", device="cpu", dtype="float64")
            engine.call("build", weights, spec=to_json(SPECS["slim"]), taps=[], dtype="float64")
            _, found = engine.call("get_weights")
            assert {array.dtype.name for array in found.values()} == {"float64"}
            return
        engine.call("open_backend", backend="keras", device="cpu", dtype="float32")
        with pytest.raises(InputError, match=r"^dtype: received 'float64' while JAX's 64-bit mode is off; call "):
            engine.call("build", weights, spec=to_json(SPECS["slim"]), taps=[], dtype="float64")
