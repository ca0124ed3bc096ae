"""A library's own program is a referee of conversions, and sees what the reference alone cannot.

Keras is here. `RESNET_REFEREES` names an interpreter with torch, torchvision, timm, transformers and this project
(`pip install --no-deps -e .` and its few libraries); without it those are skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import resnet_core as rn
from resnet_core.conversion import certificate
from resnet_core.conversion.certificate import certify
from resnet_core.conversion.convert import convert
from resnet_core.conversion.read import import_weights
from resnet_core.errors import WorkerError

LIBRARIES = {
    "torchvision": (rn.spec("resnet50", classes=7), "w.pth"),
    "timm": (rn.spec("resnet18d", classes=7), "w.safetensors"),
    "hf": (rn.spec("resnet18", channels=[8, 16, 32, 64], classes=5), "folder"),
}


def saved(folder: Path, spec: rn.ResNetSpec) -> Path:
    rn.save_weights(folder / "neutral.safetensors", rn.probe_weights(spec), spec)
    return folder / "neutral.safetensors"


@pytest.mark.long
def test_keras_applications_is_asked(tmp_path: Path) -> None:
    done = convert(saved(tmp_path, rn.spec("keras_resnet50", classes=7)), tmp_path / "w.weights.h5")
    _, own = done.certificate.measured
    assert own.referee.startswith("the destination in keras.applications.ResNet50 of Keras")
    assert 0 < own.errors["logits"] < 1e-5
    found = import_weights(tmp_path / "w.weights.h5")
    one, other = (f"stage1.block{block}.conv2.weight" for block in (2, 3))
    swapped = replace(found, weights={**found.weights, one: found.weights[other], other: found.weights[one]})
    reference, keras = certify(swapped, swapped).measured[:2]  # both sides misread alike
    assert reference.equal
    assert not keras.equal


def resnet(folder: Path, *arguments: object) -> Any:
    python = os.environ.get("RESNET_REFEREES")
    if python is None:
        pytest.skip("RESNET_REFEREES is not set: an interpreter with the libraries and this project")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    if subprocess.run([python, "-c", "import resnet_core"], env=environment, cwd=folder, check=False).returncode:
        pytest.skip("the interpreter in RESNET_REFEREES does not have this project")
    command = [python, "-m", "resnet_core", *map(str, arguments), "--json"]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


@pytest.mark.long
@pytest.mark.parametrize("format", LIBRARIES)
def test_the_library_is_asked(format: str, tmp_path: Path) -> None:
    spec, file = LIBRARIES[format]
    measured = resnet(tmp_path, "convert", saved(tmp_path, spec), tmp_path / file, "--to", format)["measured"]
    library = "transformers" if format == "hf" else format
    assert measured[1]["referee"].startswith(f"the destination in {library} ")
    assert measured[1]["max_error"]["logits"] < 1e-12
    if (
        format == "torchvision"
    ):  # the stride at another place, in both files: the same tensors, and no reference sees it
        proof = resnet(tmp_path, "certify", tmp_path / file, tmp_path / file, "--spec", wrong(tmp_path))
        assert [entry["max_error"]["logits"] > 1e-3 for entry in proof["measured"]] == [False, True, True]
        assert proof["equal"] is False


def wrong(folder: Path) -> Path:
    rn.save_spec(folder / "wrong.toml", rn.spec("resnet50_v1", classes=7))
    return folder / "wrong.toml"


def test_a_referee_that_cannot_run_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object) -> None:
        raise WorkerError("ImportError: no symbol")

    monkeypatch.setattr(certificate, "own_output", fails)
    done = convert(saved(tmp_path, rn.spec("resnet18", classes=2)), tmp_path / "w.safetensors", destination_format="hf")
    assert done.certificate.equal
    line = "the destination's own program is installed and could not run: ImportError: no symbol"
    assert done.certificate.not_heard[1] == line
    assert f"  {line}" in done.told()
    assert json.loads(done.proof.read_text())["not_heard"][1] == line
