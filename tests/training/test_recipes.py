"""The recipes of ImageNet from end to end, on a folder of a few pictures; and what a changed recipe is called."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from run_work import resnet, weights

from resnet_core.training.recipe_files import recipe, title

#: Of a folder of 16 training pictures; the network is as small as the pictures.
SMALL = ["--set=depths=[1,1]", "--set=channels=[4,8]", "--set=input_size=24", "--backend=numpy", "--steps=3"]
CHANGES = {
    "imagenet-2015": ["--with=batch_size=4", "--with=milestones=[1,2]"],
    "imagenet-goyal": ["--with=batch_size=8", "--with=statistics_batch=4", "--with=milestones=[2]", "--with=warmup=1"],
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(4)
    for number in range(24):
        path = folder / ("train" if number < 16 else "val") / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        smooth = Image.fromarray(rng.integers(0, 256, (5, 7, 3), np.uint8))
        smooth.resize((40 + number, 60 - number)).save(path)
    return folder


@pytest.mark.parametrize("name", CHANGES)
def test_a_recipe_of_imagenet_trains(name: str, pictures: Path, tmp_path: Path) -> None:
    """Its learning rates are the paper's, scaled with the batch; start line and run.json say what was changed."""
    run = tmp_path / "run"
    process = resnet("train", "resnet18", *SMALL, "--data", pictures, "--recipe", name, *CHANGES[name], "--out", run)
    assert process.returncode == 0, process.stderr
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    rates = [record["learning_rate"] for record in records if record["kind"] == "step"]
    expected = [0.1, 0.01, 0.001] if name == "imagenet-2015" else [0.1 * 8 / 256, 0.1 * 8 / 256, 0.01 * 8 / 256]
    assert rates == pytest.approx(expected)
    assert all(np.isfinite(array).all() for array in weights(run).values())
    own = recipe(run / "recipe.toml")
    assert own.name == name
    session = json.loads((run / "run.json").read_text())["sessions"][0]
    assert session["recipe"] == title(own)
    assert session["recipe"].startswith(f"{name} with ")
    assert f"by the recipe {title(own)}, in numpy" in process.stderr
    assert resnet("evaluate", run, "--data", pictures).returncode == 0


def test_an_unchanged_recipe_has_its_name_alone(pictures: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = resnet("train", "resnet18", *SMALL[:-1], "--data", pictures, "--recipe", "fashion-adam", "--out", run)
    assert "by the recipe fashion-adam, in numpy" in process.stderr
    assert json.loads((run / "run.json").read_text())["sessions"][0]["recipe"] == "fashion-adam"
    curves = json.loads(resnet("curves", run, "--json").stdout)
    assert "fashion-adam" in json.dumps(curves)
    again = resnet("train", "--out", run, "--resume", "--epochs", "3")
    assert "by the recipe fashion-adam with epochs = 3, in numpy" in again.stderr
    recorded = [session["recipe"] for session in json.loads((run / "run.json").read_text())["sessions"]]
    assert recorded == ["fashion-adam", "fashion-adam with epochs = 3"]


def test_a_whole_batch_of_goyal_is_allowed_and_a_larger_one_is_one_line(pictures: Path, tmp_path: Path) -> None:
    """8,192 pictures of 224 x 224 are within the limit of a batch; 16 pictures do not fill it."""
    given = ["train", "resnet18", "--backend=numpy", "--data", pictures, "--recipe", "imagenet-goyal"]
    process = resnet(*given, "--out", tmp_path / "run")
    assert process.returncode == 2
    assert "16 pictures fill no batch of 8192; use a smaller batch_size" in process.stderr
    assert not (tmp_path / "run").exists()
    process = resnet(*given, "--with=batch_size=8", "--with=statistics_batch=3", "--out", tmp_path / "run")
    assert process.returncode == 2
    assert process.stderr.count("\n") == 1
    assert "statistics_batch: received 3; allowed is a divisor of 8 (batch_size = 8), with drop_last" in process.stderr
