"""Other people's checkpoints classify a picture alike in every backend; a bad file is one line and exit code 2."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import resnet_core as rn
from engine_pool import MAIN, EnginePool
from referees import draw
from resnet_core.conversion import read
from resnet_core.data.prepare import load_image
from resnet_core.errors import InputError
from resnet_core.tolerances import TOLERANCES
from resnet_core.weights import Weights
from resnet_core.workers.child import Arrays

PHOTO = Path(rn.__file__).parent / "data" / "sample" / "photo.jpg"
REFEREE = Path(__file__).parents[1] / "referees" / "torchvision.json"
TOLERANCE = TOLERANCES["output"]["float32"]
HEIGHT, WIDTH = 128, 96


@dataclass(frozen=True)
class Checkpoints:
    folder: Path
    exploded: Path
    weights: Weights


@pytest.fixture(scope="module")
def checkpoints(pool: EnginePool, tmp_path_factory: pytest.TempPathFactory) -> Checkpoints:
    case = json.loads(REFEREE.read_text(encoding="utf-8"))["models"]["resnet18"]
    shapes = {name: tuple(shape) for name, shape in case["state"].items()}
    state = draw.torchvision_state(shapes, case["blocks"], case["seed"])
    # The referee's logits are damped: a thousand probabilities near 1/1000 would prove little.
    state["fc.weight"] *= np.float32(4)
    folder = tmp_path_factory.mktemp("checkpoints")
    found = Checkpoints(folder, folder / "exploded", rn.from_torchvision(state))
    worker = pool.engine("torch", "float32")
    worker.call("referee_checkpoints:save", state, folder=str(folder), exploded=str(found.exploded))
    rn.save_weights(folder / "neutral.safetensors", found.weights, rn.spec("resnet18"))
    for whole, cut in (("torchvision", "truncated"), ("legacy", "truncated_legacy")):
        data = (folder / f"{whole}.pth").read_bytes()
        (folder / f"{cut}.pth").write_bytes(data[: len(data) // 2])
    (folder / "short_legacy.pth").write_bytes((folder / "legacy.pth").read_bytes()[:5000])
    data = (folder / "torchvision.safetensors").read_bytes()
    (folder / "truncated.safetensors").write_bytes(data[: len(data) // 2])
    (folder / "bomb.safetensors").write_bytes((folder / "bomb.pth").read_bytes())
    (folder / "text.pth").write_text("hello world\n" * 100)
    (folder / "empty.pth").write_bytes(b"")
    return found


@pytest.fixture(scope="module")
def expected(pool: EnginePool, checkpoints: Checkpoints) -> Arrays:
    """The five likeliest classes and their probabilities, straight from the drawn weights."""
    images = load_image(PHOTO, (HEIGHT, WIDTH), 3)[None]
    spec = rn.spec("resnet18")
    logits = pool.reference(spec, checkpoints.weights, images)["logits"][0]
    probabilities = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    classes = np.argsort(-probabilities)[:5]
    return {"classes": classes, "probabilities": probabilities[classes]}


def predict(weights: Path, *arguments: str, spec: str = "resnet18") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "resnet_core", "predict", spec, str(PHOTO), "--weights", str(weights)]
    size = ["--set", f"input_size=[{HEIGHT}, {WIDTH}]"]
    return subprocess.run([*command, *size, *arguments], capture_output=True, text=True, check=False)


FILES = ("torchvision.pth", "torchvision.safetensors", "neutral.safetensors")


@pytest.mark.parametrize(
    ("backend", "file"), [*(("numpy", file) for file in FILES), *((backend, FILES[0]) for backend in MAIN)]
)
def test_the_likeliest_classes_are_those_of_the_weights(
    checkpoints: Checkpoints, expected: Arrays, backend: str, file: str
) -> None:
    ran = predict(checkpoints.folder / file, "--backend", backend, "--device", "cpu", "--json")
    assert ran.returncode == 0, ran.stderr
    assert "says nothing of its pictures; assumed is to cover 146 x 109 (bilinear), center 128 x 96" in ran.stderr
    (answer,) = json.loads(ran.stdout)
    top: list[dict[str, Any]] = answer["top"]
    assert [entry["class"] for entry in top] == list(expected["classes"])
    assert [entry["probability"] for entry in top] == pytest.approx(list(expected["probabilities"]), abs=TOLERANCE)


def test_the_five_probabilities_are_further_apart_than_the_tolerance(expected: Arrays) -> None:
    assert -np.diff(expected["probabilities"]).max() > 10 * TOLERANCE


#: How checkpoints lie about: whole training states, wrapped models, half the digits.
WRAPPED = ("example.pth", "references.pth", "lightning.ckpt", "wrapped.pth", "compiled.pth", "legacy.pth")
HALVES = {"half.pth": 2**-11, "half.safetensors": 2**-11, "bfloat16.pth": 2**-8, "bfloat16.safetensors": 2**-8}


@pytest.fixture
def one_process(pool: EnginePool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's reader starts a process for each file; here all are read in one."""
    monkeypatch.setattr(read, "Worker", lambda **given: nullcontext(pool.engine("torch", "float32")))


@pytest.mark.parametrize("file", WRAPPED)
@pytest.mark.usefixtures("one_process")
def test_a_wrapped_checkpoint_is_the_same_weights(checkpoints: Checkpoints, file: str) -> None:
    found = read.read_weights(checkpoints.folder / file, rn.spec("resnet18"))
    for name, array in checkpoints.weights.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("file", HALVES)
@pytest.mark.usefixtures("one_process")
def test_half_the_digits_become_float32_with_what_they_have(checkpoints: Checkpoints, file: str) -> None:
    found = read.read_weights(checkpoints.folder / file, rn.spec("resnet18"))
    for name, array in checkpoints.weights.items():
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], array, rtol=HALVES[file], atol=1e-7)
        assert array.size < 100 or not np.array_equal(found[name], array)


@pytest.mark.usefixtures("one_process")
def test_without_a_spec_any_classes_and_a_mere_backbone_are_read(checkpoints: Checkpoints) -> None:
    """For a new head; the spec's own head is still asked for where there is a spec."""
    assert read.read_weights(checkpoints.folder / "ten.pth")["head.linear.weight"].shape == (10, 512)
    assert "head.linear.weight" not in read.read_weights(checkpoints.folder / "backbone.pth")


BAD = {
    "sparse.pth": "conv1.weight is float32 (sparse_coo)",
    "nested.pth": "something other than a mapping of names to tensors",
    "backbone.pth": "2 missing (head.linear.weight, head.linear.bias)",
    "truncated.pth": "cannot be read as a checkpoint",
    "truncated_legacy.pth": "cannot be read as a checkpoint",
    "short_legacy.pth": "cannot be read as a checkpoint",
    "truncated.safetensors": "not a readable safetensors file",
    "bomb.pth": "nothing in it was executed",
    "bomb.safetensors": "not a readable safetensors file",
    "text.pth": "cannot be read as a checkpoint",
    "empty.pth": "cannot be read as a checkpoint",
    "missing.pth": "no such file",
    "ten.pth": "received shape (10, 512), expected (1000, 512); these weights are for 10 classes (set classes = 10)",
}


@pytest.mark.parametrize("file", BAD)
@pytest.mark.usefixtures("one_process")
def test_a_bad_checkpoint_is_one_line(checkpoints: Checkpoints, file: str) -> None:
    with pytest.raises(InputError) as caught:
        read.read_weights(checkpoints.folder / file, rn.spec("resnet18"))
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{checkpoints.folder / file}: ")
    assert BAD[file] in message
    assert not checkpoints.exploded.exists()


@pytest.mark.parametrize("file", ["bomb.pth", "nested.pth", "truncated.safetensors"])
def test_the_command_ends_with_that_line_and_exit_code_2(checkpoints: Checkpoints, file: str) -> None:
    ran = predict(checkpoints.folder / file, "--backend", "numpy")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.count("\n") == 1
    assert ran.stderr.startswith(f"resnet: {checkpoints.folder / file}: ")
    assert BAD[file] in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not checkpoints.exploded.exists()


def test_the_bomb_explodes_when_it_is_unpickled(pool: EnginePool, checkpoints: Checkpoints) -> None:
    worker = pool.engine("torch", "float32")
    worker.call("referee_checkpoints:load_unprotected", path=str(checkpoints.folder / "bomb.pth"))
    assert checkpoints.exploded.is_dir()
    checkpoints.exploded.rmdir()


def test_the_advice_about_classes_works(checkpoints: Checkpoints) -> None:
    ran = predict(checkpoints.folder / "ten.pth", "--backend", "numpy", "--set", "classes=10", "--json")
    assert ran.returncode == 0, ran.stderr
    assert len(json.loads(ran.stdout)[0]["top"]) == 5


@pytest.mark.parametrize("file", FILES)
def test_another_architecture_is_one_line_and_exit_code_2(checkpoints: Checkpoints, file: str) -> None:
    ran = predict(checkpoints.folder / file, "--backend", "numpy", spec="resnet50")
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
    assert "missing (stage1.block1.conv3.weight" in ran.stderr
