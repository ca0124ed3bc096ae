"""Training on one's own pictures, from other people's weights: what follows from the data, what a bad file costs."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image
from run_work import Work, done, refused, resnet, weights

import resnet_core as rn
import resnet_numpy
from resnet_core.data.images import sample_fashion
from resnet_core.training.adaptation import adapted_weights
from resnet_core.training.reporting import EpochRecord, StepRecord
from resnet_core.training.run_folder import RunFolder
from resnet_core.weights import Weights


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(tmp_path)


def folder_of_pictures(folder: Path, bad: str = "") -> Path:
    """Three classes of gray pictures, 12 to train on and 6 to test; `bad` is a test picture that is cut short."""
    pictures, _ = sample_fashion(18)
    for number, picture in enumerate(pictures):
        part = "train" if number < 12 else "val"
        place = folder / part / "abc"[number % 3]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture[..., 0]).save(place / f"{number:02}.png")
    if bad:
        (folder / bad).write_bytes((folder / bad).read_bytes()[:100])
    return folder


def damage_amid(picture: Path) -> None:
    """Damage a PNG between its header and its end, which is not looked at before the run."""
    data = bytearray(picture.read_bytes())
    at = data.index(b"IDAT") + 4
    data[at : at + 8] = b"nonsense"
    picture.write_bytes(data)


NARROW = ["--set", "depths=[1]", "--set", "channels=[4]", "--set", "input_size=20"]


def test_classes_channels_and_size_follow_from_the_data_and_are_said(work: Work) -> None:
    data = folder_of_pictures(work.folder / "pictures")
    more = ["--data", data, "--backend", "numpy", "--with", "epochs=1", "--with", "batch_size=6"]
    more += ["--out", work.folder / "run"]
    process = done(resnet("train", "resnet20", *NARROW, *more))
    assert (
        "classes = 3, in_channels = 3, 20 x 20) on pictures: 12 training and 6 test pictures; 2 steps, 2 an epoch, "
        "by the recipe fashion-adam with epochs = 1 and batch_size = 6, in numpy on cpu"
    ) in process.stderr
    found = rn.trained_network(work.folder / "run")
    assert (found.spec.classes, found.classes) == (3, ("a", "b", "c"))
    refused(
        resnet("train", "resnet20", *NARROW, *more, "--out", work.folder / "other", "--set", "classes=7"),
        "has 3 classes, and the network 7; set classes = 3",
    )


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_what_is_frozen_stays_and_the_command_says_how_much(work: Work, backend: str) -> None:
    data = folder_of_pictures(work.folder / "pictures")
    more = ["--data", data, "--backend", backend, "--with", "epochs=1", "--with", "batch_size=6"]
    run = work.folder / "run"
    process = done(resnet("train", "resnet20", *NARROW, *more, "--freeze", "backbone", "--out", run))
    spec = rn.trained_network(run).spec
    head = sum(array.size for name, array in rn.initialize(spec).items() if name.startswith("head."))
    count = rn.totals(spec).parameters
    assert f"({count:,} parameters, {head:,} trained and {count - head:,} frozen, classes = 3" in process.stderr
    before, after = rn.initialize(spec, 0), weights(run)
    assert {name for name in before if not np.array_equal(before[name], after[name])} == {
        "head.linear.weight",
        "head.linear.bias",
    }
    refused(
        resnet("train", "resnet20", *NARROW, *more, "--freeze", "stem,neck", "--out", work.folder / "other"),
        "freeze: received 'neck'; allowed is backbone (all but the head), stem, stage1, head, or a path inside one of",
    )


def test_a_run_resumes_by_its_folder_alone(work: Work) -> None:
    done(work.train("numpy", "whole", "--until", "2"))
    done(work.train("numpy", "run", "--until", "1"))
    done(resnet("train", "--out", work.folder / "run", "--resume", "--until", "2"))
    for name, array in weights(work.folder / "whole").items():
        np.testing.assert_array_equal(weights(work.folder / "run")[name], array)
    refused(resnet("train", "--out", work.folder / "new"), "spec: received none; a new run needs a network, data and a")


def test_a_bad_test_picture_does_not_cost_the_epoch(work: Work) -> None:
    """The checkpoint comes before the evaluation; with the picture mended, the run goes on as if nothing had been."""
    good, bad = (folder_of_pictures(work.folder / name / "pictures") for name in ("good", "bad"))
    damage_amid(bad / "val" / "a" / "12.png")
    more = ["--backend", "numpy", "--with", "epochs=2", "--with", "batch_size=6"]
    whole = ["train", "resnet20", *NARROW, *more, "--data", good, "--out", work.folder / "whole"]
    done(resnet(*whole))
    process = resnet("train", "resnet20", *NARROW, *more, "--data", bad, "--out", work.folder / "run")
    assert process.returncode == 2
    assert "12.png' is damaged" in process.stderr
    (checkpoint, _) = sorted((work.folder / "run" / "checkpoints").iterdir(), reverse=True)
    assert checkpoint.name == "step-000000002.safetensors"
    (bad / "val" / "a" / "12.png").write_bytes((good / "val" / "a" / "12.png").read_bytes())
    done(resnet("train", "--out", work.folder / "run", "--resume"))
    assert records(work.folder / "run") == records(work.folder / "whole")


def records(run: Path) -> list[dict[str, object]]:
    """The log but for the seconds."""
    return [{key: record[key] for key in record if key != "seconds"} for record in RunFolder(run).records()]


def test_an_epoch_that_was_logged_but_not_saved_is_not_logged_twice(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    steps = [StepRecord(step, loss=2.0, accuracy=0.5, learning_rate=0.1, seconds=0.01) for step in (1, 2)]
    epoch = EpochRecord(2, 1, loss=2.0, accuracy=0.5, test_loss=2.0, test_accuracy=0.5, seconds=0.02, backend="numpy")
    folder.log([record.to_json() for record in (*steps, epoch)])
    folder.cut_log(2)
    assert len(list(folder.records())) == 3
    folder.cut_log(2, unevaluated=True)
    assert [record["kind"] for record in folder.records()] == ["step", "step"]


def test_training_starts_from_a_torchvision_checkpoint_of_other_classes(work: Work) -> None:
    """As .safetensors with torchvision's names, for a thousand classes; everything but the head is taken over."""
    spec = rn.spec("resnet18", depths=(1, 1), channels=(4, 6), classes=1000)
    start, command = from_torchvision(work, spec)
    process = done(resnet(*command))
    assert "the weights are for 1000 classes, the network has 3: its head is new" in process.stderr
    tuned = weights(work.folder / "run")
    assert tuned["head.linear.weight"].shape == (3, 6)
    for name in rn.parameters(spec):
        if not name.startswith("head"):
            np.testing.assert_allclose(tuned[name], start[name], atol=1e-9)


def test_a_first_convolution_is_adapted_to_the_channels_of_the_pictures(work: Work) -> None:
    spec = rn.spec("resnet18", depths=(1, 1), channels=(4, 6), classes=3)
    start, command = from_torchvision(work, spec)
    command += ["--set", "in_channels=1"]
    refused(resnet(*command), "1 channels: give as many, such as mean = [0.449]")
    process = done(resnet(*command, "--with", "mean=[0.449]", "--with", "deviation=[0.226]"))
    said = "the weights are for 3 channels, the pictures have 1: stem.conv.weight is summed over them"
    assert said in process.stderr
    assert "head is new" not in process.stderr
    tuned = weights(work.folder / "run")
    expected = start["stem.conv.weight"].sum(1, keepdims=True)
    np.testing.assert_allclose(tuned["stem.conv.weight"], expected, atol=1e-7)


@pytest.mark.parametrize("channels", [1, 6])
def test_a_picture_that_is_the_same_in_all_channels_has_the_same_output(channels: int) -> None:
    wide = rn.spec("resnet18", depths=(1, 1), channels=(4, 6), classes=3)
    spec = rn.spec(wide, in_channels=channels)
    weights = rn.probe_weights(wide, dtype="float64")
    adapted, (sentence,) = adapted_weights(spec, weights, 0, "float64")
    assert ("summed" if channels == 1 else "repeated and scaled") in sentence
    gray = np.random.default_rng(0).standard_normal((2, 32, 32, 1))
    outputs = []
    for network, own in ((wide, weights), (spec, adapted)):
        model = resnet_numpy.build(network, weights=own, dtype="float64")
        outputs.append(resnet_numpy.predict(model, gray.repeat(network.in_channels, axis=-1)))
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-10)


def test_channels_are_repeated_from_the_first_and_scaled_as_timm_does() -> None:
    wide = rn.spec("resnet18", depths=(1, 1), channels=(4, 6), classes=3)
    weights = rn.probe_weights(wide)
    adapted, _ = adapted_weights(rn.spec(wide, in_channels=4), weights, 0, "float32")
    expected = weights["stem.conv.weight"][:, [0, 1, 2, 0]] * np.float32(0.75)
    np.testing.assert_array_equal(adapted["stem.conv.weight"], expected)


def from_torchvision(work: Work, spec: rn.ResNetSpec) -> tuple[Weights, list[Any]]:
    """(weights that lie in a file with torchvision's names, the command that takes a step of no length from them)."""
    start = rn.initialize(spec, 5)
    named = {torchvision_name(name): array for name, array in start.items()}
    safetensors.numpy.save_file(named, work.folder / "tv.safetensors")
    data = folder_of_pictures(work.folder / "pictures")
    command: list[Any] = ["train", "resnet18", "--data", data, "--backend", "numpy", "--out", work.folder / "run"]
    command += ["--set", "depths=[1,1]", "--set", "channels=[4,6]", "--set", "input_size=32"]
    command += ["--weights", work.folder / "tv.safetensors"]
    return start, [*command, "--with", "steps=1", "--with", "batch_size=6", "--with", "learning_rate=1e-12"]


def torchvision_name(name: str) -> str:
    name = name.replace("stem.conv", "conv1").replace("stem.norm", "bn1").replace("head.linear", "fc")
    name = (
        name.replace("shortcut.conv", "downsample.0").replace("shortcut.norm", "downsample.1").replace(".norm", ".bn")
    )
    return re.sub(r"stage(\d)\.block(\d)", lambda found: f"layer{found[1]}.{int(found[2]) - 1}", name)


def test_a_data_set_is_looked_over_and_every_bad_picture_named(tmp_path: Path) -> None:
    data = folder_of_pictures(tmp_path / "pictures", "val/a/12.png")
    (data / "train" / "b" / "01.png").write_text("no picture")
    process = resnet("data", data, "--json")
    assert process.returncode == 1
    found = json.loads(process.stdout)
    assert found["train"]["classes"] == {"a": 4, "b": 4, "c": 4}
    assert found["train"]["sizes"] == {"28x28": 11}
    assert list(found["train"]["bad"]) == [str(data / "train" / "b" / "01.png")]
    assert list(found["test"]["bad"]) == [str(data / "val" / "a" / "12.png")]
    lines = [*found["train"]["bad"].values(), *found["test"]["bad"].values()]
    assert process.stderr.splitlines() == [f"resnet: {line}" for line in lines]
    for file in ("train/b/01.png", "val/a/12.png"):
        (data / file).write_bytes((data / "train" / "a" / "00.png").read_bytes())
    process = done(resnet("data", data))
    assert "training: 12 pictures of 3 classes, 28 x 28" in process.stdout
    assert process.stderr == ""


def test_the_end_of_a_run_says_what_comes_next_and_that_works(work: Work) -> None:
    """Best and last accuracy; the commands that it names, with the run alone, take its own data."""
    data = folder_of_pictures(work.folder / "my pictures")
    more = ["--data", data, "--backend", "numpy", "--with", "epochs=2", "--with", "batch_size=6"]
    process = done(resnet("train", "resnet20", *NARROW, *more, "--out", work.folder / "my run"))
    epochs = [record for record in records(work.folder / "my run") if record["kind"] == "epoch"]
    best = max(float(str(epoch["test_accuracy"])) for epoch in epochs)
    assert f"; best {best:.4f} after epoch " in process.stdout
    (said,) = [line for line in process.stderr.splitlines() if line.startswith("next: ")]
    first, second = said.removeprefix("next: ").split(", or ")
    assert shlex.split(first)[:3] == ["resnet", "predict", str(work.folder / "my run")]
    found = json.loads(done(resnet(*shlex.split(second)[1:], "--json")).stdout)
    assert (found["pictures"], found["accuracy"]) == (6, pytest.approx(best))
