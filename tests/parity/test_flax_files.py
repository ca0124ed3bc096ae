"""Files of Flax: its ImageNet example's networks, and states of this project's NNX models, in msgpack and in Orbax.

The example is on no registry. The network here has its architecture, in our words, and Flax gives it the same names.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import resnet_core as rn
import resnet_numpy
from engines import CPU, QUICK
from resnet_core.conversion.convert import convert, write_exported
from resnet_core.conversion.export import Exported
from resnet_core.conversion.read import Imported, import_weights
from resnet_core.errors import InputError, WeightsError
from resnet_core.numerics import relative_error

WRITER = Path(__file__).with_name("flax_files.py")
NNX = rn.spec("seresnet50", channels=(8, 8, 8, 16), depths=(1, 2, 1, 1), classes=3, input_size=32)
NAMED = rn.spec("resnet20_option_b", classes=3)
EXAMPLES = ("basic.msgpack", "basic.orbax", "bottleneck.msgpack", "bottleneck.orbax", "bottleneck.steps")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a program with Flax has written."""
    folder = tmp_path_factory.mktemp("flax")
    for name, spec in (("nnx", NNX), ("named", NAMED)):
        rn.save_weights(folder / f"{name}.safetensors", rn.probe_weights(spec), spec)
    command = [sys.executable, str(WRITER), str(folder)]
    done = subprocess.run(command, env={**os.environ, **QUICK, **CPU}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_is_recognized_and_computes_the_same(name: str, folder: Path) -> None:
    found = import_weights(folder / name)
    kind = name.partition(".")[0]
    assert found.recognized is not None
    assert found.recognized.style.name == f"examples/imagenet, {kind} blocks"
    assert (found.spec.depths, found.spec.block, found.spec.classes) == ((1, 2, 1, 1), kind, 7)
    with np.load(folder / f"{kind}.npz") as arrays:
        images, truth = arrays["images"], arrays["logits"]

    def error(spec: rn.ResNetSpec) -> float:
        model = resnet_numpy.build(spec, weights=rn.cast(found.weights, "float64"), dtype="float64")
        return relative_error(resnet_numpy.predict(model, images.astype(np.float64)), truth)

    assert error(found.spec) < 1e-5
    for slip in ({"conv_padding": "symmetric"}, {"stem_pool_padding": "symmetric"}, {"norm_epsilon": 1e-3}):
        assert error(rn.spec(found.spec, **slip)) > 1e-4


@pytest.mark.parametrize("back", ["back.msgpack", "back"])
def test_there_and_back_is_the_same_bits(back: str, folder: Path, tmp_path: Path) -> None:
    convert(folder / "bottleneck.msgpack", tmp_path / "w.safetensors")
    there = convert(tmp_path / "w.safetensors", tmp_path / back, destination_format="flax")
    assert set(there.certificate.errors.values()) == {0.0}
    assert sorted(path.name for path in tmp_path.glob("back*")) == [back, f"{back}.certificate.json"]
    first, second = (import_weights(path) for path in (folder / "bottleneck.msgpack", tmp_path / back))
    assert first.recognized is not None
    assert second.recognized is not None
    assert dict(second.recognized.names) == dict(first.recognized.names)
    assert all(np.array_equal(first.weights[name], array) for name, array in second.weights.items())


def test_a_folder_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = rn.spec("resnet20", depths=(1, 1, 1), classes=3)
    rn.save_weights(tmp_path / "w.safetensors", rn.probe_weights(spec), spec)
    old = tmp_path / "old"
    old.mkdir()
    (old / "mine").write_text("kept")
    with pytest.raises(InputError, match=r"old: .*(is there already|Is a directory)"):
        convert(tmp_path / "w.safetensors", old, destination_format="nnx")
    assert [path.name for path in old.iterdir()] == ["mine"]

    def damaged(path: Path, exported: Exported, found: Imported) -> None:
        name = next(name for name in exported.arrays if name.endswith("bias"))
        arrays = {**exported.arrays, name: np.nextafter(exported.arrays[name], np.float32(9))}
        write_exported(path, dataclasses.replace(exported, arrays=arrays), found)

    monkeypatch.setattr("resnet_core.conversion.convert.write_exported", damaged)
    with pytest.raises(InputError, match="not written, since it would not compute the same"):
        convert(tmp_path / "w.safetensors", tmp_path / "there", destination_format="nnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old", "w.safetensors"]


@pytest.mark.parametrize("name", ["nnx.msgpack", "nnx.orbax"])
def test_a_state_of_ours_that_is_no_named_network_needs_its_spec(name: str, folder: Path) -> None:
    own = rn.probe_weights(NNX)
    found = import_weights(folder / name, NNX)
    assert all(np.array_equal(found.weights[name], array) for name, array in own.items())
    with pytest.raises(WeightsError, match="no network with a name has these tensors; give it by --spec"):
        import_weights(folder / name)
    with pytest.raises(WeightsError, match="not of resnet50"):
        import_weights(folder / name, rn.spec("resnet50"))


@pytest.mark.parametrize("name", ["named.msgpack", "named.orbax"])
def test_a_state_of_ours_is_the_named_network_that_alone_has_its_tensors(name: str, folder: Path) -> None:
    found = import_weights(folder / name)
    assert found.spec == NAMED
    assert all(np.array_equal(found.weights[name], array) for name, array in rn.probe_weights(NAMED).items())


def test_what_is_no_state_is_one_line(tmp_path: Path) -> None:
    for name, data in {"text.msgpack": b"no state", "empty.msgpack": b"", "list.msgpack": b"\x93\x01\x02\x03"}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match="expected a state of Flax") as error:
            import_weights(tmp_path / name)
        assert "\n" not in str(error.value)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "_METADATA").write_text("{}")
    with pytest.raises(InputError, match="cannot be read"):
        import_weights(tmp_path / "folder")
