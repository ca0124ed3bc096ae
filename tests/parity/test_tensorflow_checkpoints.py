"""A checkpoint that TensorFlow wrote, with an optimizer's variables beside the network's, is the same weights."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import resnet_core as rn
from engines import CPU
from resnet_core.conversion.export import export_weights
from resnet_core.errors import WeightsError

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


def test_a_checkpoint_of_slim_is_read_with_its_1001_classes(tmp_path: Path) -> None:
    weights = rn.probe_weights(SPEC)
    exported = export_weights(SPEC, weights, "slim")
    arrays = {f"resnet_v2_50/{name}": array for name, array in exported.arrays.items()}
    slot = "resnet_v2_50/conv1/weights/Momentum"
    beside = {"global_step": np.array(7, np.int64), slot: np.zeros((7, 7, 3, 64), np.float32)}
    np.savez(tmp_path / "arrays.npz", **arrays, **beside)
    command = [sys.executable, "-P", "-c", WRITE, tmp_path / "arrays.npz", tmp_path / "part", tmp_path / "model.ckpt"]
    environment = {**os.environ, **CPU, "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run(list(map(str, command)), env=environment, check=True, capture_output=True, timeout=300)
    found = rn.import_weights(tmp_path / "model.ckpt")
    assert (found.spec.classes, found.recognized.format.name) == (1001, "slim")
    assert found.recognized.left_out == (slot,)
    for name, array in weights.items():
        np.testing.assert_array_equal(found.weights[name], array)
    index = tmp_path / "model.ckpt.index"
    index.write_bytes(index.read_bytes()[:100])
    with pytest.raises(WeightsError, match=r"model\.ckpt\.index: cannot be read \("):
        rn.import_weights(index)
