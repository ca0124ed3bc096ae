"""TensorFlow's checkpoints: one with an optimizer's variables beside the network's is read, one for slim is written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import resnet_core as rn
from engines import CPU
from file_processes import shared_processes
from resnet_core.conversion.convert import convert
from resnet_core.conversion.export import export_weights
from resnet_core.conversion.read import import_weights
from resnet_core.errors import InputError, WeightsError

WRITE = """
import sys
import numpy as np
import tensorflow as tf
arrays = dict(np.load(sys.argv[1]))
names, values = list(arrays), [tf.constant(value) for value in arrays.values()]
tf.raw_ops.SaveV2(prefix=sys.argv[2], tensor_names=names, shape_and_slices=[""] * len(names), tensors=values)
tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=[sys.argv[2]], destination_prefix=sys.argv[3])
"""
SPEC = rn.spec("resnet_v2_50", depths=[1, 1, 1, 1], classes=1001)


@pytest.fixture(autouse=True, scope="module")
def processes() -> Iterator[None]:
    with shared_processes():
        yield


def test_a_checkpoint_of_slim_is_read_with_its_1001_classes(tmp_path: Path) -> None:
    weights = rn.probe_weights(SPEC)
    exported = export_weights(SPEC, weights, "slim")
    arrays = {name.replace("resnet_v2_14/", "resnet_v2_50/"): array for name, array in exported.arrays.items()}
    slot = "resnet_v2_50/conv1/weights/Momentum"
    beside = {"global_step": np.array(7, np.int64), slot: np.zeros((7, 7, 3, 64), np.float32)}
    np.savez(tmp_path / "arrays.npz", **arrays, **beside)
    command = [sys.executable, "-P", "-c", WRITE, tmp_path / "arrays.npz", tmp_path / "part", tmp_path / "model.ckpt"]
    environment = {**os.environ, **CPU, "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run(list(map(str, command)), env=environment, check=True, capture_output=True, timeout=300)
    found = rn.import_weights(tmp_path / "model.ckpt")
    assert (found.spec.classes, found.recognized.format.name) == (1001, "slim")
    assert found.recognized.left_out == ("global_step", slot)
    for name, array in weights.items():
        np.testing.assert_array_equal(found.weights[name], array)
    index = tmp_path / "model.ckpt.index"
    index.write_bytes(index.read_bytes()[:100])
    with pytest.raises(WeightsError, match=r"model\.ckpt\.index: cannot be read \("):
        rn.import_weights(index)


def test_a_checkpoint_is_written_whole_with_its_scope_and_never_over_another(tmp_path: Path) -> None:
    spec = rn.spec(SPEC, classes=5)
    rn.save_weights(tmp_path / "w.safetensors", rn.probe_weights(spec), spec)
    index, data = tmp_path / "w.ckpt.index", tmp_path / "w.ckpt.data-00000-of-00001"
    done = convert(tmp_path / "w.safetensors", index)
    assert done.exported is not None
    assert set(done.exported.names.values()) >= {"resnet_v2_14/conv1/weights", "resnet_v2_14/postnorm/gamma"}
    assert set(done.certificate.errors.values()) == {0.0}
    assert done.certificate.destination["bytes"] == index.stat().st_size + data.stat().st_size
    there = sorted(path.name for path in tmp_path.iterdir())
    assert there == sorted([index.name, data.name, done.proof.name, "w.safetensors"])
    before = index.read_bytes(), data.read_bytes()
    with pytest.raises(InputError, match=r"w\.ckpt\.index: is there already, and is several files"):
        convert(tmp_path / "w.safetensors", index)
    index.rename(tmp_path / "other")
    with pytest.raises(InputError, match=r"w\.ckpt\.data-00000-of-00001: is there already"):
        convert(tmp_path / "w.safetensors", index)
    assert not index.exists()
    (tmp_path / "other").rename(index)
    assert (index.read_bytes(), data.read_bytes()) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == there


def test_a_dense_network_is_slims_by_its_arguments_which_the_certificate_says(tmp_path: Path) -> None:
    spec = rn.spec(SPEC, classes=5, output_stride=8, global_pool=False)
    rn.save_weights(tmp_path / "w.safetensors", rn.probe_weights(spec), spec)
    done = convert(tmp_path / "w.safetensors", tmp_path / "w.ckpt.index")
    assert "  to be told to its program: output_stride = 8, global_pool = false" in done.told()
    said = json.loads(done.proof.read_text())["destination"]
    assert said["to_be_told"] == {"output_stride": 8, "global_pool": False}
    plain = import_weights(tmp_path / "w.ckpt").spec  # nothing in the file shows them
    assert (plain.output_stride, plain.global_pool) == (None, True)
    back = convert(tmp_path / "w.ckpt", tmp_path / "back.safetensors", spec=spec)
    assert set(back.certificate.errors.values()) == {0.0}
    assert (tmp_path / "back.safetensors").read_bytes() == (tmp_path / "w.safetensors").read_bytes()
