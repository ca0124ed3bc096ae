"""Training, evaluation and prediction as a library: what they return, and that the command line adds nothing to it."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from run_work import Work, done, resnet

import resnet_core as rn
from resnet_core.errors import InputError, TrainingError, WeightsError
from resnet_core.training.adaptation import adapted_weights
from resnet_core.training.contract import StepInputs, StepResult, TrainingState
from resnet_core.training.recipe_files import RECIPES, recipe
from resnet_core.training.reporting import EpochRecord, StepRecord
from resnet_core.training.run_loop import RunProgress
from resnet_core.training.targets import target_distribution

ROOT = Path(__file__).parents[2]
SPEC = rn.spec("resnet20", depths=[1, 1], channels=[4, 8], in_channels=1)


def trained(work: Work, **changes: Any) -> rn.TrainingResult:
    """One epoch of ten steps in NumPy, in the folder `run`."""
    given: dict[str, Any] = {"backend": "numpy", "out": work.folder / "run", "until": 1}
    given["recipe"] = work.folder / "recipe.toml"
    return rn.train(SPEC, work.folder / "data.npz", **{**given, **changes})


def test_train_returns_how_the_run_ended_and_every_epoch(work: Work) -> None:
    first = trained(work)
    assert (first.run, first.ended, first.step) == (work.folder / "run", "until", 10)
    second = trained(work, resume=True, recipe=None, until=2)
    assert second.epochs[:1] == first.epochs
    assert second.last == second.epochs[1]
    logged = [json.loads(line) for line in (work.folder / "run" / "log.jsonl").read_text().splitlines()]
    assert [epoch.to_json() for epoch in second.epochs] == [line for line in logged if line["kind"] == "epoch"]
    whole = trained(work, out=work.folder / "whole", recipe=recipe(work.folder / "recipe.toml", epochs=1), until=None)
    assert whole.ended == "finished"


def test_a_function_is_called_with_every_record(work: Work) -> None:
    records: list[StepRecord | EpochRecord] = []
    result = trained(work, progress=records.append)
    *steps, epoch = records
    assert [step.step for step in steps] == list(range(1, 11))
    assert all(isinstance(step, StepRecord) for step in steps)
    assert epoch == result.last


def test_a_damaged_checkpoint_is_a_warning_where_there_is_no_reporter(work: Work) -> None:
    trained(work)
    last = work.folder / "run" / "checkpoints" / "step-000000010.safetensors"
    last.write_bytes(last.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="trying the previous one"):
        assert trained(work, resume=True).step == 10


def test_evaluate_prints_as_json_what_the_library_returns(work: Work) -> None:
    run, data = trained(work).run, work.folder / "data.npz"
    found = rn.evaluate(run, data)
    process = resnet("evaluate", run, "--data", data, "--json")
    assert process.returncode == 0, process.stderr
    assert json.loads(process.stdout) == found.to_json()
    assert list(found.to_json()) == [
        "run", "weights", "backend", "device", "data", "pictures", "pictures_name", "accuracy", "loss", "top5",
        "per_class", "confusion",
    ]  # fmt: skip
    labels = np.load(data)["y_test"]
    assert found.accuracy == (found.classes == labels).mean()
    assert (found.run, found.weights, found.backend, found.pictures) == (str(run), "best", "numpy", len(labels))
    assert rn.evaluate(run, rn.dataset(data), weights="last").weights == "last"


def test_predict_prints_as_json_what_the_library_returns(work: Work) -> None:
    picture, weights = work.folder / "a.png", work.folder / "w.safetensors"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50), np.uint8)).save(picture)
    arrays = rn.probe_weights(SPEC)
    rn.save_weights(weights, arrays, SPEC)
    rn.save_spec(work.folder / "mine.toml", SPEC)
    spec = work.folder / "mine.toml"
    names = [f"thing {index}" for index in range(10)]
    (found,) = rn.predict(spec, picture, weights=weights, backend="numpy", top=3, labels=names)
    (work.folder / "names.txt").write_text("\n".join(names))
    options = ("--weights", weights, "--backend", "numpy", "--top", "3", "--labels", work.folder / "names.txt")
    process = resnet("predict", spec, picture, *options, "--json")
    assert process.returncode == 0, process.stderr
    assert json.loads(process.stdout) == [found.to_json()]
    assert list(found.to_json()["top"][0]) == ["class", "label", "probability"]
    assert found.top[0].label == names[found.top[0].index]
    assert rn.predict(rn.spec(spec), [picture], weights=arrays, backend="numpy", top=3, labels=names) == [found]


def test_the_example_of_the_page_runs(work: Work) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "training.md").read_text(), re.S)
    process = subprocess.run(
        [sys.executable, "-c", program], cwd=work.folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert process.returncode == 0, process.stderr
    assert "EpochRecord(step=6, epoch=2, " in process.stdout
    assert "test accuracy 0." in process.stdout


# What goes into a step


def test_a_target_is_the_label_smoothed_over_all_classes() -> None:
    targets = target_distribution(np.array([2, 0]), 4, 0.2)
    np.testing.assert_allclose(targets, [[0.05, 0.05, 0.85, 0.05], [0.85, 0.05, 0.05, 0.05]], rtol=1e-15)
    assert targets.dtype == np.float64
    np.testing.assert_array_equal(target_distribution(np.array([1]), 3, 0.0), [[0, 1, 0]])


def test_smoothed_targets_give_pytorchs_own_loss(tmp_path: Path) -> None:
    """The referee is `label_smoothing` of torch.nn.functional.cross_entropy, in a process of its own."""
    logits, labels = np.random.default_rng(4).standard_normal((6, 5)), np.array([4, 0, 2, 2, 1, 3])
    np.savez(tmp_path / "a.npz", logits=logits, labels=labels)
    program = (
        "import numpy, torch\narrays = numpy.load('a.npz')\n"
        "logits, labels = map(torch.from_numpy, (arrays['logits'], arrays['labels']))\n"
        "print(repr(torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.3).item()))"
    )
    process = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True
    )

    def loss(targets: np.ndarray) -> float:
        return float(-(targets * (logits - np.log(np.exp(logits).sum(-1, keepdims=True)))).sum() / 6)

    assert loss(target_distribution(labels, 5, 0.3)) == pytest.approx(float(process.stdout), rel=1e-14)
    over_the_others = np.where(np.eye(5)[labels] == 1, 0.7, 0.3 / 4)
    assert loss(over_the_others) != pytest.approx(float(process.stdout), rel=1e-3), "a planted defect"


def test_a_state_is_flattened_and_back() -> None:
    weights = {"stem.conv.weight": np.ones((2, 1, 3, 3)), "stem.norm.running_var": np.ones(2)}
    state = TrainingState(weights, {"momentum": {"stem.conv.weight": np.zeros((2, 1, 3, 3))}}, 7)
    arrays = state.to_arrays()
    assert list(arrays) == [
        "weight.stem.conv.weight", "weight.stem.norm.running_var", "slot.momentum.stem.conv.weight",
    ]  # fmt: skip
    assert TrainingState.from_arrays({**arrays, "images": np.zeros(1)}, 7) == state


@pytest.mark.parametrize("backend", ["torch", "keras", "flax", "numpy"])
def test_a_trainer_names_the_inputs_that_it_uses(backend: str) -> None:
    source = ast.parse((ROOT / "backends" / f"resnet_{backend}" / "trainer.py").read_text())
    (trainer,) = [node for node in source.body if isinstance(node, ast.ClassDef) and node.name == "Trainer"]
    (named,) = [node.value for node in trainer.body if isinstance(node, ast.AnnAssign)]
    assert isinstance(named, ast.Call)
    steps = [node for node in trainer.body if isinstance(node, ast.FunctionDef) and node.name in ("step", "_batch")]
    used = {
        node.attr
        for step in steps
        for node in ast.walk(step)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "inputs"
    }
    own = {field.name for field in dataclasses.fields(StepInputs)}
    used = used - {"parts"} | ({"images", "targets", "factors"} if "parts" in used else set())  # what `parts` cuts
    used -= {"whole"}  # of one process, as long as its images; its step is the one of several
    assert ast.literal_eval(named.args[0]) == used
    assert used <= own


def test_the_sums_of_an_epoch_begin_again_and_the_best_stays() -> None:
    progress = RunProgress(best=0.5)
    progress.add(StepResult(2.0, 3), 4, 0.25)
    assert progress.to_json() == {"loss": 8.0, "correct": 3, "images": 4, "seconds": 0.25, "best": 0.5, "waited": 0}
    assert RunProgress(**progress.to_json()) == progress
    progress.reset()
    assert progress == RunProgress(best=0.5)
    progress.waited = 2
    assert [progress.exhausted(patience) for patience in (None, 1, 2, 3)] == [False, True, True, False]


# Errors


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"until": 0}, "until: received 0; expected an integer from 1"),
        ({"keep": 0}, "keep: received 0; expected an integer from 1"),
        ({"checkpoint_every": 0}, "checkpoint_every: received 0; expected an integer from 1"),
        ({"dtype": "float16"}, "dtype: received 'float16'; expected one of float32, float64"),
        ({"device": "tpu"}, "device: received 'tpu'; expected one of auto, cpu, gpu"),
        ({"resume": True, "weights": {}}, "weights: received some for a resumed run"),
        ({"resume": True}, "holds no run"),
        ({"recipe": "nobody"}, "recipe: received 'nobody'"),
        ({"weights": {}}, "does not fit the network"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_leaves_nothing(work: Work, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        trained(work, **changes)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (work.folder / "run").exists()


def test_weights_of_a_deeper_network_are_not_cut_to_size() -> None:
    deeper = rn.initialize(rn.spec(SPEC, depths=[2, 1]))
    with pytest.raises(WeightsError, match=r"stage1\.block2\.conv1\.weight does not fit the network"):
        adapted_weights(SPEC, deeper, 0, "float32")
    crooked = rn.initialize(SPEC) | {"stem.conv.weight": np.zeros(3, np.float32)}
    with pytest.raises(WeightsError, match=r"stem\.conv\.weight does not fit the network"):
        adapted_weights(SPEC, crooked, 0, "float32")
    other, _ = adapted_weights(SPEC, rn.initialize(rn.spec(SPEC, classes=3), seed=1), 0, "float64")
    assert other["head.linear.weight"].shape == (10, 8)
    assert {array.dtype.name for array in other.values()} == {"float64"}


def test_a_loss_that_is_nan_says_at_which_step_and_what_is_saved(work: Work) -> None:
    plan = recipe(work.folder / "recipe.toml", learning_rate=1e8)
    said = r"the loss is nan at step \d+ .*, the last checkpoint is step-000000000"
    with np.errstate(all="ignore"), pytest.raises(TrainingError, match=said):
        trained(work, recipe=plan)


def texts(path: Path) -> list[str]:
    """Every string of a module but its docstrings."""
    source = ast.parse(path.read_text())
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docs = {id(node.body[0].value) for node in ast.walk(source) if isinstance(node, documented) and node.body
            and isinstance(node.body[0], ast.Expr)}  # fmt: skip
    return [
        node.value
        for node in ast.walk(source)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs
    ]


@pytest.mark.parametrize("room", ["training", "prediction", "data", "errors.py", "fields.py", "weights.py"])
def test_a_library_error_speaks_of_no_option(room: str) -> None:
    place = ROOT / "resnet_core" / room
    files = [place] if place.is_file() else sorted(place.glob("*.py"))
    assert files
    for path in files:
        assert [text for text in texts(path) if re.search(r"--[a-z]|`resnet ", text)] == [], path


def test_the_search_for_options_finds_them() -> None:
    assert any("--set" in text for text in texts(ROOT / "resnet_core" / "cli" / "options.py"))


# What evaluation says beyond accuracy


def test_evaluation_counts_what_was_taken_for_what(work: Work) -> None:
    done(work.train("numpy", "run", "--until", "1"))
    run, data = work.folder / "run", work.folder / "data.npz"
    found = rn.evaluate(run, data)
    labels = np.load(data)["y_test"]
    expected = np.zeros((10, 10), np.int64)
    for label, predicted in zip(labels, found.classes, strict=True):
        expected[label, predicted] += 1
    np.testing.assert_array_equal(found.confusion, expected)
    assert found.per_class["3"] == pytest.approx((found.classes[labels == 3] == 3).mean())
    trained = rn.trained_network(run)
    images = np.load(data)["x_test"].astype(np.float32)[..., None] / 255
    logits = rn.load_backend("numpy").predict(
        rn.build(trained.spec, "numpy", weights=trained.weights), (images.reshape(-1, 14, 14, 1) - 0.286) / 0.353
    )
    among = [label in np.argsort(-row)[:5] for label, row in zip(labels, logits, strict=True)]
    assert found.top5 == pytest.approx(np.mean(among))
    assert found.accuracy <= found.top5 <= 1

    process = resnet("evaluate", run, "--data", data, "--classes", "--confusion", work.folder / "c.svg")
    assert process.returncode == 0, process.stderr
    assert f"top 5 {found.top5:.4f}" in process.stdout
    assert "taken for" in process.stdout
    assert "accuracy" in (work.folder / "c.svg").read_text()
    refused = resnet("evaluate", run, "--data", data, "--confusion", work.folder / "c.pdf")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)


def test_recipes_are_listed_and_printed_as_files_that_are_read_again(tmp_path: Path) -> None:
    listed = resnet("recipes").stdout
    for name in RECIPES:
        assert name in listed
        (tmp_path / "mine.toml").write_text(resnet("recipes", name).stdout)
        assert rn.recipe(tmp_path / "mine.toml") == rn.recipe(name)
