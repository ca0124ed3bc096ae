"""Runs on a folder without a test split: what they hold out, they hold out when they are resumed and evaluated."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from run_work import Work, done, refused, resnet, weights

from resnet_core.data.images import sample_fashion

FLAT = ["--set", "depths=[1]", "--set", "channels=[4]", "--set", "input_size=14"]
AUGMENTED = ["crop_area=[0.3, 1]", "brightness=0.3", "hue=0.1", "flip=true", "cutout=4", "mixup=0.3"]


@pytest.fixture
def flat(work: Work) -> Path:
    """Two classes of gray pictures, ten each."""
    pictures, _ = sample_fashion(20)
    for number, picture in enumerate(pictures):
        place = work.folder / "flat" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture[..., 0]).save(place / f"{number:02}.png")
    return work.folder / "flat"


def test_a_run_holds_out_the_same_pictures_whenever_it_goes_on(work: Work, flat: Path) -> None:
    """With every augmentation, so that a resumed run ends with the bits of one in a piece."""
    fields = [part for field in ("epochs=2", "batch_size=6", "seed=3", *AUGMENTED) for part in ("--with", field)]
    more = ["--data", flat, "--backend", "numpy", *fields]
    start = ["train", "resnet20", *FLAT, *more]
    refused(resnet(*start, "--out", work.folder / "run"), "hold out a share of its pictures with validation = 0.2")
    whole = done(resnet(*start, "--validation", "0.3", "--out", work.folder / "whole"))
    assert "on flat: 14 training and 6 validation pictures; 6 steps, 3 an epoch" in whole.stderr
    done(resnet(*start, "--validation", "0.3", "--out", work.folder / "run", "--until", "1"))
    resume = ["train", "--out", work.folder / "run", "--resume"]
    refused(resnet(*resume, "--validation", "0.2"), "holds out 0.3 of its pictures; received validation = 0.2")
    resumed = done(resnet(*resume))
    for said in (whole, resumed):  # nobody takes them for test pictures
        assert "; validation loss " in said.stderr
        assert "6 steps, validation accuracy " in said.stdout
    for name, array in weights(work.folder / "whole").items():
        np.testing.assert_array_equal(weights(work.folder / "run")[name], array)
    assert json.loads((work.folder / "run" / "run.json").read_text())["validation"] == 0.3

    epochs = [json.loads(line) for line in (work.folder / "run" / "log.jsonl").read_text().splitlines()]
    last = [record for record in epochs if record["kind"] == "epoch"][-1]
    found = json.loads(done(resnet("evaluate", work.folder / "run", "--weights", "last", "--json")).stdout)
    assert (found["pictures"], found["pictures_name"]) == (6, "validation")
    assert found["loss"] == pytest.approx(last["test_loss"], rel=1e-5)
    said = done(resnet("evaluate", work.folder / "run", "--data", flat)).stdout
    assert "on 6 validation pictures of flat" in said
    refused(resnet("evaluate", work.folder / "run", "--validation", "0.5"), "holds out 0.3 of its pictures; received")


def test_data_shows_what_would_be_held_out(flat: Path, work: Work) -> None:
    refused(resnet("data", flat), "hold out a share of its pictures with validation = 0.2")
    shown = done(resnet("data", flat, "--validation", "0.3", "--seed", "3")).stdout
    assert "training: 14 pictures of 2 classes, 28 x 28" in shown
    assert "validation: 6 pictures of 2 classes, 28 x 28" in shown
    refused(
        resnet("data", work.folder / "data.npz", "--validation", "0.3"),
        "data has a test split of its own, expected no validation",
    )
    refused(
        work.train("numpy", "run", "--validation", "0.3"), "data has a test split of its own, expected no validation"
    )
