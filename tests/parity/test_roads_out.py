"""What each framework writes for deployment computes the network, run by its own runtime without this project."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import resnet_core as rn
from engine_pool import TOLERANCE, EnginePool, batch
from engines import CPU
from hidden import hide
from network_kinds import KINDS
from resnet_core.comparison.narrow import narrowed
from resnet_core.numerics import relative_error
from resnet_core.spec_files import to_json
from resnet_core.weights import Weights
from roads_out import AFTER, BEFORE, ROADS

OWN = ("resnet_core", "resnet_torch", "resnet_keras", "resnet_flax", "resnet_numpy", "resnet_onnx")
QUICK = {("torch.export", "resnet_v2_50"), ("StableHLO", "seresnetaa50d")}
PAIRS = [
    pytest.param(*pair, marks=() if pair in QUICK else pytest.mark.long, id="-".join(pair))
    for pair in product(ROADS, KINDS)
]


def deployed(pool: EnginePool, road: str, spec: rn.ResNetSpec, weights: Weights, folder: Path) -> np.ndarray:
    """The logits of three pictures as the artefact of a network of these weights gives them, in a new process."""
    engine, name, run, needs, hidden = ROADS[road]
    if find_spec(needs) is None:
        pytest.skip(f"{needs} is not installed")
    place = str(folder / name)
    pool.engine(engine, "float32").call("roads_out:write", weights, road=road, spec=to_json(spec), path=place)
    np.save(folder / "images.npy", batch(spec, spec.input_size, 1, 3))
    environment = {**os.environ, **CPU, "PYTHONPATH": hide(folder, *OWN, *hidden)}
    command = [sys.executable, "-P", "-c", BEFORE + run + AFTER, place, folder / "images.npy", folder / "output.npy"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return np.asarray(np.load(folder / "output.npy"))


def truth(pool: EnginePool, spec: rn.ResNetSpec, weights: Weights) -> np.ndarray:
    return pool.reference(spec, rn.cast(weights, "float64"), batch(spec, spec.input_size, 1, 3))[rn.taps(spec)[-1]]


@pytest.mark.parametrize(("road", "name"), PAIRS)
def test_an_artefact_computes_the_network(road: str, name: str, pool: EnginePool, tmp_path: Path) -> None:
    spec = narrowed(rn.spec(name))
    weights = rn.probe_weights(spec)
    error = relative_error(deployed(pool, road, spec, weights, tmp_path), truth(pool, spec, weights))
    assert error < TOLERANCE["float32"]


@pytest.mark.long
@pytest.mark.parametrize("road", ROADS)
def test_an_artefact_of_other_weights_is_noticed(road: str, pool: EnginePool, tmp_path: Path) -> None:
    spec = narrowed(rn.spec("resnet18"))
    weights = rn.probe_weights(spec)
    name = "stage1.block1.conv1.weight"
    other = {**weights, name: weights[name].transpose(0, 1, 3, 2)}
    error = relative_error(deployed(pool, road, spec, other, tmp_path), truth(pool, spec, weights))
    assert error > 100 * TOLERANCE["float32"]
