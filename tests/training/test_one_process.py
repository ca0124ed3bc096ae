"""A run has one process, its own checkpoints, data and log, and is saved when its process is told to go."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_work import ENVIRONMENT, Work, command, done, refused, resnet

import resnet_core as rn
from resnet_core import files
from resnet_core.errors import DataError, InputError
from resnet_core.safetensors_file import read_safetensors, write_safetensors
from resnet_core.training import checkpoint as checkpoints
from resnet_core.training import run_lock
from resnet_core.training.checkpoint import load_checkpoint
from resnet_core.training.interruptions import deferred_interruptions
from resnet_core.training.run_folder import RunFolder


def contents(folder: Path) -> dict[str, str]:
    """What is in a folder, but for who locked it last."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != run_lock.LOCK
    }


def newest(run: Path) -> Path:
    return max((run / "checkpoints").iterdir())


def start(work: Work, *more: str) -> subprocess.Popen[str]:
    arguments = command(*work.arguments("numpy", "run", *more))
    return subprocess.Popen(arguments, env={**os.environ, **ENVIRONMENT}, stderr=subprocess.PIPE, text=True)


def await_steps(work: Work, process: subprocess.Popen[Any]) -> None:
    """Until it has begun to train."""
    end = time.monotonic() + 60
    while not list((work.folder / "run").glob("checkpoints/step-00000000[3-9]*")) and time.monotonic() < end:
        assert process.poll() is None
        time.sleep(0.002)


def one_epoch(work: Work, out: str, *more: str) -> Path:
    done(work.train("numpy", out, "--until", "1", *more))
    return work.folder / out


@pytest.mark.parametrize("new", [True, False])
def test_a_run_that_is_held_is_refused_and_nothing_is_changed(work: Work, new: bool) -> None:
    if not new:
        one_epoch(work, "run")
    run = RunFolder(work.folder / "run")
    with run.held(new=new):
        before = contents(run.path)
        begin = time.monotonic()
        refused(work.train("numpy", "run", *([] if new else ["--resume"])), f"process {os.getpid()} on ")
        assert time.monotonic() - begin < 20
        assert contents(run.path) == before
    done(work.train("numpy", "run", "--until", "1", *([] if new else ["--resume"])))


def test_without_the_lock_two_would_train_one_run(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: what the test above would see, if nothing were locked."""
    monkeypatch.setattr(run_lock, "_lock", lambda *_: None)
    one_epoch(work, "run")
    with RunFolder(work.folder / "run").held():
        done(work.train("numpy", "run", "--until", "2", "--resume"))


def test_another_process_is_refused_while_one_trains_and_not_after_it_was_killed(work: Work) -> None:
    done(work.train("numpy", "whole", "--checkpoint-every", "3"))
    process = start(work, "--checkpoint-every", "3")
    try:
        await_steps(work, process)
        process.send_signal(signal.SIGSTOP)  # it holds the run, however slow this machine is
        refused(work.train("numpy", "run", "--resume"), f"process {process.pid} on ")
        refused(work.train("numpy", "run"), "is not empty")
    finally:
        process.kill()
        process.communicate()
    done(work.train("numpy", "run", "--resume", "--checkpoint-every", "3"))
    for name in ("last.safetensors", "best.safetensors"):
        assert (work.folder / "run" / name).read_bytes() == (work.folder / "whole" / name).read_bytes()
    steps = [record["step"] for record in RunFolder(work.folder / "run").records() if record["kind"] == "step"]
    assert steps == list(range(1, 61))


def test_of_two_new_runs_in_one_folder_one_is_refused(work: Work, request: pytest.FixtureRequest) -> None:
    for _ in range(10 if request.config.getoption("--long") else 1):
        shutil.rmtree(work.folder / "run", ignore_errors=True)
        processes = [start(work, "--until", "1", "--with", f"seed={seed}") for seed in (1, 2)]
        said = [process.communicate(timeout=120)[1] for process in processes]
        codes = [process.returncode for process in processes]
        assert sorted(codes) == [0, 2], said
        line = said[codes.index(2)]
        assert "is training here" in line or "is not empty" in line
        assert line.count("\n") == 1
        kept = load_checkpoint(newest(work.folder / "run"))
        assert rn.recipe(work.folder / "run" / "recipe.toml").seed == kept.recipe.seed == codes.index(0) + 1


def test_where_nothing_can_be_locked_a_run_is_trained_all_the_same(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(run_lock.fcntl, "flock", no_locks)
    one_epoch(work, "run")


def test_a_run_in_a_folder_that_cannot_be_locked_is_one_line(work: Work) -> None:
    run = one_epoch(work, "run")
    (run / run_lock.LOCK).unlink()
    (run / run_lock.LOCK).mkdir()
    refused(work.train("numpy", "run", "--resume"), "a run cannot be kept here (Is a directory)")


# Signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_signal_is_noted(number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    monkeypatch.setattr(signal, "getsignal", lambda _: default)  # below `nohup`, SIGHUP is ignored
    with deferred_interruptions() as interrupted:
        assert not interrupted()
        os.kill(os.getpid(), number)
        assert interrupted()


def test_a_hangup_that_is_ignored_stays_so() -> None:
    """Below `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with deferred_interruptions() as interrupted:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not interrupted()
    finally:
        signal.signal(signal.SIGHUP, before)


#: The command whose session the terminal is. `nohup`, where these tests run below it, has SIGHUP ignored.
IN_ITS_TERMINAL = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def test_a_run_whose_terminal_is_closed_is_saved(work: Work) -> None:
    """The terminal's end is a SIGHUP, and nothing can be printed any more."""
    done(work.train("numpy", "whole", "--checkpoint-every", "3"))
    arguments = command(*work.arguments("numpy", "run", "--checkpoint-every", "3"))
    terminal, inside = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", IN_ITS_TERMINAL, *arguments],
        env={**os.environ, **ENVIRONMENT},
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
    )
    os.close(inside)
    end = time.monotonic() + 60
    while not list((work.folder / "run").glob("checkpoints/step-00000000[3-9]*")) and time.monotonic() < end:
        if select.select([terminal], [], [], 0.002)[0]:
            os.read(terminal, 65536)
    os.close(terminal)
    assert process.wait(60) == 130
    stopped = load_checkpoint(newest(work.folder / "run")).state.step
    assert 3 <= stopped < 60
    done(work.train("numpy", "run", "--resume"))
    name = "last.safetensors"
    assert (work.folder / "run" / name).read_bytes() == (work.folder / "whole" / name).read_bytes()


# What a run is resumed with


def other_recipe(work: Work) -> Path:
    return one_epoch(work, "other", "--with", "learning_rate=0.01")


def other_optimizer(work: Work) -> Path:
    return one_epoch(work, "other", "--with", "optimizer=adam", "--with", "momentum=0", "--with", "nesterov=false")


def other_network(work: Work) -> Path:
    return one_epoch(work, "other", "--set", "norm_epsilon=0.01")


def other_data(work: Work) -> Path:
    change_labels(work.folder / "data.npz")
    return one_epoch(work, "other")


def change_labels(path: Path) -> None:
    with np.load(path) as data:
        arrays = {name: data[name] for name in data.files}
    arrays["y_train"] = arrays["y_train"][::-1]
    np.savez(path, **arrays)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (other_recipe, "its recipe is not that of"),
        (other_optimizer, "its recipe is not that of"),
        (other_network, "its network is not that of"),
        (other_data, "its data set is not that of"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_and_nothing_is_changed(
    work: Work, other: Callable[[Work], Path], words: str
) -> None:
    run = one_epoch(work, "run")
    data = (work.folder / "data.npz").read_bytes()
    foreign = newest(other(work))
    (work.folder / "data.npz").write_bytes(data)
    shutil.copy(foreign, run / "checkpoints" / "step-000000015.safetensors")
    before = contents(run)
    refused(work.train("numpy", "run", "--resume"), f"is a checkpoint of another run: {words}")
    assert contents(run) == before


def test_a_run_whose_data_have_changed_is_refused(work: Work) -> None:
    run = one_epoch(work, "run")
    change_labels(work.folder / "data.npz")
    before = contents(run)
    refused(work.train("numpy", "run", "--resume"), "was trained on other pictures or labels than ")
    assert contents(run) == before
    about = json.loads((run / "run.json").read_text())
    del about["fingerprint"]  # as in a run that was made before there was one
    (run / "run.json").write_text(json.dumps(about))
    done(work.train("numpy", "run", "--resume", "--until", "2"))


def test_a_fingerprint_tells_pictures_labels_and_classes_apart() -> None:
    images, labels = np.arange(10 * 4 * 4 * 3, dtype=np.uint8).reshape(10, 4, 4, 3), np.arange(10) % 2
    found = {}
    for name, change in {
        "same": lambda images, labels: (images.copy(), labels.copy()),
        "again": lambda images, labels: (images, labels),
        "picture": lambda images, labels: (images // 2, labels),
        "order": lambda images, labels: (images[::-1], labels),
        "fewer": lambda images, labels: (images[:-1], labels[:-1]),
        "label": lambda images, labels: (images, labels[::-1]),
        "classes": lambda images, labels: (images, labels + (labels == 1)),
    }.items():
        found[name] = dataset_of(*change(images, labels)).fingerprint
    assert found.pop("again") == found["same"]
    assert len(set(found.values())) == len(found)


def dataset_of(images: np.ndarray, labels: np.ndarray) -> Any:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.npz"
        np.savez(path, x_train=images, y_train=labels, x_test=images, y_test=labels)
        return rn.dataset(path)


# Formats


def rewritten(path: Path, **metadata: str | None) -> None:
    """The checkpoint with other metadata, and a digest that fits."""
    arrays, found = read_safetensors(path)
    found = {key: value for key, value in {**found, **metadata}.items() if value is not None and key != "digest"}
    write_safetensors(path, arrays, {**found, "digest": checkpoints._digest(arrays, found)})


def test_a_checkpoint_of_a_newer_format_is_refused_and_left_alone(work: Work) -> None:
    run = one_epoch(work, "run", "--checkpoint-every", "3")
    rewritten(newest(run), format="checkpoint 2")
    before = contents(run)
    words = "has format 'checkpoint 2'; this version reads 'checkpoint 1': use the one that wrote it"
    refused(work.train("numpy", "run", "--resume"), words)
    assert contents(run) == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", "something else"),
        ("spec", None),
        ("recipe", None),
        ("recipe", "[" * 5000),
        ("step", "many"),
        ("step", None),
        ("progress", "[]"),
        ("progress", '{"loss": "low"}'),
        ("progress", None),
    ],
)
def test_a_checkpoint_that_was_made_by_hand_is_one_line(work: Work, small: Path, field: str, value: str | None) -> None:
    path = Path(shutil.copy(newest(small), work.folder / "step.safetensors"))
    rewritten(path, **{field: value})
    with pytest.raises(InputError) as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of an epoch, which is not changed."""
    return one_epoch(Work(tmp_path_factory.mktemp("small")), "run")


@pytest.mark.parametrize(
    ("version", "words"),
    [(2, "run.json has format 2; this version reads 1"), ("x", "run.json is damaged"), (0, "run.json is damaged")],
)
def test_a_description_of_another_format_is_refused_and_left_alone(
    work: Work, small: Path, version: object, words: str
) -> None:
    run = shutil.copytree(small, work.folder / "run")
    about = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**about, "format": version}))
    before = contents(run)
    refused(work.train("numpy", "run", "--resume"), words)
    with pytest.raises(InputError, match=r"run\.json"):
        rn.evaluate(run)
    assert contents(run) == before


# The log


@pytest.mark.parametrize(
    "line",
    [
        "5",
        "{}",
        "[]",
        "null",
        '"text"',
        '{"kind": "step"}',
        '{"kind": "step", "step": "1", "loss": 1.0, "accuracy": 0.5, "learning_rate": 0.1, "seconds": 1.0}',
        '{"kind": "step", "step": null, "loss": 1.0, "accuracy": 0.5, "learning_rate": 0.1, "seconds": 1.0}',
        '{"kind": "step", "step": 1, "accuracy": 0.5, "learning_rate": 0.1, "seconds": 1.0}',
        '{"kind": "pause", "step": 1}',
        '{"kind": [], "step": 1}',
        "[" * 100_000,
    ],
)
def test_a_line_of_the_log_that_is_no_record_is_one_line(work: Work, small: Path, line: str) -> None:
    run = shutil.copytree(small, work.folder / "run")
    with (run / "log.jsonl").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(DataError, match=r"log\.jsonl: line 12 is (no record of a run|damaged)"):
        list(RunFolder(run).records())


def test_a_log_with_a_line_that_is_no_record_is_refused_by_every_command(work: Work, small: Path) -> None:
    run = shutil.copytree(small, work.folder / "run")
    with (run / "log.jsonl").open("a") as file:
        file.write("5\n")
    before = contents(run)
    arguments = ["train", "--out", run, "--resume", "--data", work.folder / "data.npz"]
    refused(resnet(*arguments), "line 12 is no record of a run")
    refused(resnet("curves", run), "line 12 is no record of a run")
    assert contents(run) == before


class Killed(BaseException):
    """As if the process had ended here."""


@contextmanager
def killed_at(moment: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Inside, the process ends at this sync of a file, before or after it, and writes nothing any more."""
    real, count = os.fsync, [0]

    def fsync(descriptor: int) -> None:
        count[0] += 1
        if count[0] > moment:
            raise Killed
        real(descriptor)
        if count[0] == moment:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", fsync)
        yield count


def test_log_and_checkpoints_agree_wherever_a_run_is_killed(
    work: Work, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    plan = rn.recipe(work.folder / "recipe.toml", epochs=2, milestones=[1])
    network = rn.spec("resnet20", depths=[1, 1], channels=[4, 8], in_channels=1)
    always = {"backend": "numpy", "checkpoint_every": 4}

    def train(out: str, **more: Any) -> None:
        rn.train(network, work.folder / "data.npz", out=work.folder / out, recipe=plan, **always, **more)

    with killed_at(10**9, monkeypatch) as count:
        train("whole")
    for moment in range(1, count[0], 1 if request.config.getoption("--long") else 7):
        run = work.folder / f"run{moment}"
        with killed_at(moment, monkeypatch), pytest.raises(Killed):
            train(run.name)
        saved = [int(path.stem.removeprefix("step-")) for path in RunFolder(run).checkpoints()]
        logged = [record["step"] for record in RunFolder(run).records() if record["kind"] == "step"]
        assert logged == list(range(1, len(logged) + 1))
        assert len(logged) >= max(saved, default=0)
        train(run.name, resume=(run / "run.json").exists())
        assert (run / "last.safetensors").read_bytes() == (work.folder / "whole" / "last.safetensors").read_bytes()
        mine, theirs = (
            [record | {"seconds": 0} for record in RunFolder(folder).records()]
            for folder in (run, work.folder / "whole")
        )
        assert mine == theirs
