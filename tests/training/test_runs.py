"""Whole runs from the command line: what they leave, how they go on, what they survive."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_work import ENVIRONMENT, Work, command, done, refused, resnet, weights

import resnet_core as rn
from resnet_core.errors import InputError, WeightsError
from resnet_core.numerics import relative_error
from resnet_core.tolerances import TOLERANCES
from resnet_core.training import recorder
from resnet_core.training.checkpoint import load_checkpoint
from resnet_core.training.recipe_files import recipe
from resnet_core.training.reporting import StepRecord
from resnet_core.training.run_folder import RunFolder

BACKENDS = ("torch", "keras", "flax", "numpy")
STEPS, PER_EPOCH = 60, 10


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def same(one: Path, other: Path) -> bool:
    return (one / "last.safetensors").read_bytes() == (other / "last.safetensors").read_bytes()


def test_a_run_leaves_everything_in_its_folder(work: Work) -> None:
    process = work.train("torch", "run")
    done(process)
    run = work.folder / "run"
    found = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    kept = {f"checkpoints/step-{step:09d}.safetensors" for step in (40, 50, 60)}
    assert found == kept | {
        "spec.toml", "recipe.toml", "run.json", "log.jsonl", "last.safetensors", "best.safetensors",
        "curves.png", "curves.svg", ".lock",
    }  # fmt: skip
    assert rn.spec(run / "spec.toml").input_size == (14, 14)
    about = json.loads((run / "run.json").read_text())
    assert about["sessions"][0]["versions"]["torch"]
    records = log(run)
    steps = [record for record in records if record["kind"] == "step"]
    epochs = [record for record in records if record["kind"] == "epoch"]
    assert [record["step"] for record in steps] == list(range(1, STEPS + 1))
    assert len(epochs) == 6
    assert [record["learning_rate"] for record in steps[::10]] == pytest.approx([0.05, 0.05, 0.005, 0.005, 5e-4, 5e-4])
    assert epochs[-1]["loss"] < epochs[0]["loss"]
    assert f"test accuracy {epochs[-1]['test_accuracy']:.4f}" in process.stdout
    own, spec = rn.load_weights(run / "best.safetensors")
    assert own.keys() == rn.state(spec).keys()
    for name in ("curves.png", "curves.svg"):
        assert (run / name).stat().st_size > 5000

    best = max(record["test_accuracy"] for record in epochs)
    for backend in BACKENDS:
        process = resnet("evaluate", run, "--data", work.folder / "data.npz", "--backend", backend, "--json")
        done(process)
        assert json.loads(process.stdout)["accuracy"] == best


def test_a_run_may_change_its_framework_at_any_epoch(work: Work) -> None:
    """Two epochs in each of three frameworks equal six in one, with the optimizer's memory, in float64."""
    double = ("--dtype", "float64")
    done(work.train("torch", "whole", *double))
    for part, backend in enumerate(("flax", "torch", "keras"), start=1):
        resume = ["--resume"] if part > 1 else []
        done(work.train(backend, "mixed", *double, "--until", str(2 * part), *resume))
    whole, mixed = (
        load_checkpoint(work.folder / run / "checkpoints" / f"step-{STEPS:09d}.safetensors")
        for run in ("whole", "mixed")
    )
    for one, other in (
        (whole.state.weights, mixed.state.weights),
        *zip(whole.state.slots.values(), mixed.state.slots.values(), strict=True),
    ):
        assert max(relative_error(other[name], one[name]) for name in one) <= TOLERANCES["weights"]["float64"]
    assert [s["backend"] for s in json.loads((work.folder / "mixed" / "run.json").read_text())["sessions"]] == [
        "flax",
        "torch",
        "keras",
    ]
    losses = [[r["loss"] for r in log(work.folder / run) if r["kind"] == "step"] for run in ("whole", "mixed")]
    np.testing.assert_allclose(losses[1], losses[0], rtol=TOLERANCES["loss"]["float64"])


def test_numpy_trains_the_same_run_without_a_framework(work: Work) -> None:
    done(work.train("numpy", "numpy", "--dtype", "float64", "--until", "1"))
    done(work.train("torch", "torch", "--dtype", "float64", "--until", "1"))
    one, other = weights(work.folder / "torch"), weights(work.folder / "numpy")
    assert max(relative_error(other[name], one[name]) for name in one) < TOLERANCES["weights"]["float64"]


@pytest.mark.parametrize(
    "backend", ["torch", "numpy", *(pytest.param(backend, marks=pytest.mark.long) for backend in ("keras", "flax"))]
)
def test_a_killed_run_resumes_to_the_same_bits(work: Work, backend: str, request: pytest.FixtureRequest) -> None:
    """SIGKILL at random moments, again and again: the weights at the end are those of a run nobody killed."""
    usual, many = {"torch": (2, 40)}.get(backend, (1, 10))
    kills = many if request.config.getoption("--long") else usual
    moments, run = random.Random(1), work.folder / "run"
    often = ("--checkpoint-every", "3")
    done(work.train(backend, "whole", *often))

    def resume() -> list[str]:
        return ["--resume"] if (run / "run.json").exists() else []

    def equal_to_whole() -> None:
        assert same(run, work.folder / "whole")
        losses = [[r["loss"] for r in log(folder) if r["kind"] == "step"] for folder in (run, work.folder / "whole")]
        assert losses[0] == losses[1]

    while kills:
        before = _progress(run)
        process = _start(work.arguments(backend, "run", *often, *resume()))
        # Once it has begun to train: at any moment of the next few steps, the writing of files included.
        while process.poll() is None and _progress(run) == before:
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.05))
        finished = process.poll() is not None
        process.kill()
        _, said = process.communicate()
        if finished:  # all of its checkpoints were used up: another run
            assert process.returncode == 0, said
            equal_to_whole()
            shutil.rmtree(run)
        else:
            kills -= 1
    done(work.train(backend, "run", *often, *resume()))
    equal_to_whole()


@pytest.mark.parametrize("backend", ["keras", pytest.param("flax", marks=pytest.mark.long)])
def test_a_run_resumes_with_a_short_batch_to_the_same_bits(work: Work, backend: str) -> None:
    """The first batch after a resumption has another size than the first of all: what is compiled must not notice."""
    often = ("--checkpoint-every", "3", "--keep", "9", "--until", "2")
    done(work.train(backend, "whole", *often))
    run = shutil.copytree(work.folder / "whole", work.folder / "run")
    for path in (run / "checkpoints").iterdir():
        if path.name > "step-000000009.safetensors":
            path.unlink()
    done(work.train(backend, "run", *often, "--resume"))
    assert same(run, work.folder / "whole")


def test_a_run_that_was_killed_while_it_began_begins_again(work: Work) -> None:
    done(work.train("numpy", "whole", "--until", "1"))
    run = work.folder / "run"
    (run / "checkpoints").mkdir(parents=True)
    for name in (".starting", "spec.toml", "checkpoints/step-000000000.safetensors"):
        (run / name).touch()
    refused(work.train("numpy", "run", "--resume"), "start it again without resuming")
    done(work.train("numpy", "run", "--until", "1"))
    assert same(run, work.folder / "whole")
    assert not (run / ".starting").exists()
    refused(work.train("numpy", "run"), "is not empty; expected a new folder")


def _start(arguments: list[str | Path]) -> subprocess.Popen[str]:
    return subprocess.Popen(command(*arguments), env={**os.environ, **ENVIRONMENT}, stderr=subprocess.PIPE, text=True)


def _progress(run: Path) -> str | None:
    found = sorted((run / "checkpoints").glob("step-*"))
    return found[-1].name if found else None


def test_a_damaged_last_checkpoint_falls_back_to_the_one_before_and_says_so(work: Work) -> None:
    done(work.train("numpy", "whole", "--until", "3"))
    done(work.train("numpy", "run", "--until", "2"))
    last = work.folder / "run" / "checkpoints" / "step-000000020.safetensors"
    data = bytearray(last.read_bytes())
    data[-5] ^= 1
    last.write_bytes(data)
    header = bytearray(data)
    header[-5] ^= 1
    at = header.index(b'"step":"20"') + len(b'"step":"')
    header[at : at + 2] = b"19"  # another step, and whole otherwise
    (work.folder / "header.safetensors").write_bytes(header)
    with pytest.raises(WeightsError, match="the digest does not match"):
        load_checkpoint(work.folder / "header.safetensors")
    process = work.train("numpy", "run", "--resume", "--until", "3")
    done(process)
    assert "the digest does not match" in process.stderr
    assert "trying the previous one" in process.stderr
    assert same(work.folder / "run", work.folder / "whole")
    for path in (work.folder / "run" / "checkpoints").iterdir():
        path.write_bytes(b"nothing")
    process = work.train("numpy", "run", "--resume")
    assert process.returncode == 2
    assert "none of its 3 checkpoints can be read" in process.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_and_the_run_resumes_to_the_same_bits(work: Work, number: int) -> None:
    done(work.train("numpy", "whole"))
    process = _start(work.arguments("numpy", "run"))
    while process.poll() is None and (_progress(work.folder / "run") or "") < "step-000000010":
        time.sleep(0.002)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "use --resume to continue" in said
    assert "Traceback" not in said
    stopped = load_checkpoint(sorted((work.folder / "run" / "checkpoints").iterdir())[-1]).state.step
    assert PER_EPOCH <= stopped < STEPS
    done(work.train("numpy", "run", "--resume"))
    assert same(work.folder / "run", work.folder / "whole")


def test_a_loss_that_is_nan_stops_the_run_and_keeps_the_last_checkpoint(work: Work) -> None:
    done(work.train("numpy", "run", "--until", "1"))
    before = weights(work.folder / "run")
    process = work.train("numpy", "new", "--with", "learning_rate=1e8")
    refused(process, f"the loss is nan at step {len(log(work.folder / 'new')) + 1} ", code=1)
    process = resnet(*work.arguments("numpy", "run")[:-2], "--resume", "--with", "learning_rate=1e8")
    refused(process, "is a run with another recipe; to resume it with its own, give no recipe")
    assert all(np.array_equal(before[name], value) for name, value in weights(work.folder / "run").items())


def test_the_log_can_be_followed_while_an_epoch_runs(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = work.folder / "run"
    seen = []

    class Follower:
        def step(self, record: StepRecord, images: int) -> None:
            seen.append(len(log(folder)) if (folder / "log.jsonl").exists() else 0)

        def start(self, *_: object) -> None: ...
        def epoch(self, *_: object) -> None: ...
        def warn(self, *_: object) -> None: ...
        def note(self, *_: object) -> None: ...

    monkeypatch.setattr(recorder, "LOG_EVERY", 0.0)
    plan = recipe(work.folder / "recipe.toml", epochs=1)
    network = rn.spec("resnet20", depths=[1, 1], channels=[4, 8], in_channels=1)
    rn.train(network, work.folder / "data.npz", backend="numpy", out=folder, recipe=plan, progress=Follower())
    assert seen == list(range(PER_EPOCH))


def test_a_full_disk_is_one_line_and_what_was_saved_stays_whole(work: Work) -> None:
    done(work.train("numpy", "run", "--until", "1"))
    before = (work.folder / "run" / "last.safetensors").read_bytes()

    # The shell sets the limit, not this process between fork and exec: JAX, where it was imported, warns of forks.
    limited = ["bash", "-c", 'ulimit -f 4 && exec "$@"', "bash"]
    process = subprocess.run(
        [*limited, *command(*work.arguments("numpy", "run", "--resume"))],
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        timeout=120,
    )
    refused(process, "cannot be written (File too large)")
    assert (work.folder / "run" / "last.safetensors").read_bytes() == before
    assert [path.name for path in (work.folder / "run").rglob(".*")] == [".lock"]
    done(work.train("numpy", "run", "--resume"))
    done(work.train("numpy", "whole"))
    assert same(work.folder / "run", work.folder / "whole")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_one_line(work: Work) -> None:
    locked = work.folder / "locked"
    locked.mkdir(mode=0o555)
    refused(work.train("numpy", "locked/run"), "a run cannot be kept here (Permission denied)")


def test_a_damaged_description_of_a_run_is_one_line(work: Work) -> None:
    done(work.train("numpy", "run", "--until", "1"))
    for data in (b"", b"\xff", b"{}", b"[]", b'{"data": "d", "dtype": "float32", "sessions": []}'):
        (work.folder / "run" / "run.json").write_bytes(data)
        with pytest.raises(InputError, match=r"run\.json is damaged"):
            RunFolder(work.folder / "run").open()
    for arguments in (work.arguments("numpy", "run", "--resume"), ["evaluate", work.folder / "run", "--data", "mnist"]):
        refused(resnet(*arguments), "run.json is damaged")


def test_a_place_that_is_no_folder_is_one_line(work: Work) -> None:
    (work.folder / "file").write_text("")
    refused(work.train("numpy", "file/run"), "cannot be written (Not a directory); nothing was changed")
    (work.folder / "full").mkdir()
    (work.folder / "full" / "mine.txt").write_text("")
    refused(work.train("numpy", "full"), "is not empty; expected a new folder")
    refused(work.train("numpy", "none", "--resume"), "holds no run")


def test_fine_tuning_starts_from_another_runs_weights_with_a_new_head(work: Work) -> None:
    done(work.train("numpy", "run", "--until", "1"))
    images = np.load(work.folder / "data.npz")
    few = {name: images[name] for name in images.files}
    for part in ("train", "test"):
        kept = few[f"y_{part}"] < 4
        few[f"x_{part}"], few[f"y_{part}"] = few[f"x_{part}"][kept], few[f"y_{part}"][kept]
    np.savez(work.folder / "few.npz", **few)
    more = [
        "--data",
        work.folder / "few.npz",
        "--set",
        "classes=4",
        "--weights",
        work.folder / "run" / "best.safetensors",
    ]
    done(
        work.train(
            "numpy", "tuned", *more, "--with", "steps=1", "--with", "learning_rate=1e-12", "--with", "milestones=[1]"
        )
    )
    start, tuned = weights(work.folder / "run", "best"), weights(work.folder / "tuned")
    np.testing.assert_allclose(tuned["stem.conv.weight"], start["stem.conv.weight"], atol=1e-9)
    assert tuned["head.linear.weight"].shape[0] == 4
    refused(
        work.train("numpy", "other", *more[:-1], work.folder / "run" / "best.safetensors", "--set", "channels=[4,16]"),
        "does not fit",
    )


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--with", "learning_rate=0"], "learning_rate: received 0; allowed is a number above 0"),
        (["--with", "nonsense"], "override: received 'nonsense'; expected key=value"),
        (["--data", "imagenet"], "data: received 'imagenet'"),
        (["--recipe", "nobody"], "recipe: received 'nobody'"),
        (["--set", "classes=7"], "has 10 classes, and the network 7; set classes = 10"),
        (["--set", "classes=none"], "training needs one prediction per picture"),
        (["--dtype", "float16"], "dtype: received 'float16'"),
        (["--device", "gpu"], "no GPU is visible to PyTorch"),
        (["--device", "tpu"], "device: received 'tpu'; expected one of auto, cpu, gpu"),
        (["--backend", "caffe"], "backend: received 'caffe'"),
    ],
)
def test_bad_arguments_are_one_clear_line_and_leave_nothing(work: Work, more: list[str], words: str) -> None:
    process = work.train("torch", "run", *more)
    assert process.returncode == 2, process.stderr
    assert words in process.stderr
    assert "Traceback" not in process.stderr
    assert not (work.folder / "run").exists()
