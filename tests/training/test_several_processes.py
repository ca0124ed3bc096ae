"""`resnet train --processes N`: the run of one process, resumed with other numbers, and what ends it."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from launched_runs import LENGTH, one_and_two
from run_work import ENVIRONMENT, Work, command, done, resnet

from resnet_core.numerics import relative_error
from resnet_core.safetensors_file import read_safetensors

RUN = 1e-10
RESUME = ("--resume", "--dtype", "float64", "--backend", "torch", "--device", "cpu")


def checkpoint(run: Path) -> dict[str, np.ndarray]:
    return read_safetensors(max((run / "checkpoints").iterdir()))[0]


def losses(run: Path) -> list[float]:
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [record["loss"] for record in records if record["kind"] == "step"]


def apart(run: Path, other: Path) -> float:
    """The largest error of a loss, a weight, a statistic or a slot."""
    found, true = checkpoint(run), checkpoint(other)
    assert found.keys() == true.keys()
    errors = [relative_error(found[name], true[name]) for name in true]
    return max(*errors, relative_error(np.array(losses(run)), np.array(losses(other))))


def same_bits(run: Path, other: Path) -> bool:
    found, true = checkpoint(run), checkpoint(other)
    return losses(run) == losses(other) and all(np.array_equal(found[name], true[name]) for name in true)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Work:
    return one_and_two(tmp_path_factory.mktemp("runs"))


def resumed(work: Work, run: str, *more: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return resnet("train", "--out", work.folder / run, *RESUME, *more, **environment)


def test_two_processes_train_the_run_of_one(runs: Work) -> None:
    assert apart(runs.folder / "two", runs.folder / "one") < RUN
    about = json.loads((runs.folder / "two" / "run.json").read_text())
    assert about["sessions"][0]["processes"] == 2


class Running:
    """A run of two processes, and which of the system's they are."""

    def __init__(self, work: Work, out: str, *more: str, backend: str = "torch", **environment: str) -> None:
        self.run = work.folder / out
        begun = (self.run / "run.json").exists()
        given = ["train", "--out", self.run, *RESUME] if begun else work.arguments(backend, out, *LENGTH)
        self.process = subprocess.Popen(
            command(*given, "--processes", "2", *more),
            env={**os.environ, **ENVIRONMENT, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def rank(self, number: int) -> int | None:
        """The process of a rank, as soon as it is there; None where the run ended, or the rank before rank 0 did."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        while self.process.poll() is None:
            for child in children.read_text().split():
                try:
                    variables = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
                    started = b"resnet_core" in Path(f"/proc/{child}/cmdline").read_bytes()
                except OSError:
                    continue
                if started and f"RANK={number}".encode() in variables:
                    return int(child)
            time.sleep(0.02)
        return None

    def steps(self) -> int:
        names = [path.stem for path in (self.run / "checkpoints").glob("step-*.safetensors")]
        return max((int(name.removeprefix("step-")) for name in names), default=-1)

    def end(self) -> tuple[int, str]:
        _, said = self.process.communicate(timeout=300)
        return self.process.returncode, said.splitlines()[-1]


in_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the ranks are found in /proc")


@in_proc
def test_a_run_that_was_killed_goes_on_in_any_number_of_processes(runs: Work, request: pytest.FixtureRequest) -> None:
    """In the same one to the same bits."""
    running = Running(runs, "killed")
    while running.steps() < 3:
        time.sleep(0.01)
    assert killed(running, 1)
    others: dict[str, tuple[str, ...]] = {"to one": ()}
    if request.config.getoption("--long"):
        others["to three"] = ("--processes", "3")
    for other in others:
        shutil.copytree(running.run, runs.folder / other)
    process = done(resumed(runs, "killed", "--processes", "2"))
    assert process.stderr.count("2 processes, each with its rows of every batch") == 1
    assert len(process.stdout.splitlines()) == 1, "only rank 0 says how it ended"
    assert same_bits(running.run, runs.folder / "two")
    for other, more in others.items():
        done(resumed(runs, other, *more))
        assert apart(runs.folder / other, runs.folder / "one") < RUN
        assert not same_bits(runs.folder / other, runs.folder / "two"), "another number of processes rounds otherwise"


def killed(running: Running, rank: int) -> bool:
    """Kill a rank, and see all end in time, with a line that names it; False where the run was quicker."""
    process, begin = running.rank(rank), time.monotonic()
    if process is None:
        assert running.end()[0] == 0
        return False
    os.kill(process, signal.SIGKILL)
    code, said = running.end()
    assert time.monotonic() - begin < 30
    assert code == 1
    assert said.startswith(f"resnet: rank {rank} was killed by SIGKILL (out of memory?); all others were ended")
    return True


def test_flax_trains_in_two_processes(work: Work) -> None:
    """What gloo prints is not the run's; and one that fails does not wait for those that wait for it."""
    given = ("--steps=2", "--with=batch_size=7", "--processes", "2")
    process = done(work.train("flax", "run", *given))
    (line,) = process.stdout.splitlines()
    assert line.startswith(f"{work.folder / 'run'}: 2 steps")
    begin = time.monotonic()
    again = work.train("flax", "run", *given)
    assert time.monotonic() - begin < 50
    assert again.returncode == 2
    assert re.fullmatch(r"resnet: .*/run: .*\n", again.stderr)


@pytest.mark.long
@in_proc
@pytest.mark.parametrize(
    ("backend", "environment", "tolerance"),
    [
        ("flax", {}, RUN),
        ("keras", {"KERAS_BACKEND": "jax"}, 1e-4),  # on JAX, Keras' norms of float64 compute in float32
    ],
)
def test_other_backends_do_the_same(backend: str, environment: dict[str, str], tolerance: float, work: Work) -> None:
    """One process, two, a rank that is killed, and going on in as many and in three."""
    resume = ("--resume", "--dtype", "float64", "--backend", backend, "--device", "cpu")

    def resumed(run: str, processes: int) -> Path:
        done(resnet("train", "--out", work.folder / run, *resume, "--processes", str(processes), **environment))
        return work.folder / run

    done(work.train(backend, "one", *LENGTH, **environment))
    done(work.train(backend, "two", *LENGTH, "--processes", "2", **environment))
    assert apart(work.folder / "two", work.folder / "one") < tolerance
    for rank in (1, 0):
        running = Running(work, f"killed {rank}", backend=backend, **environment)
        while running.steps() < 3:
            time.sleep(0.01)
        assert killed(running, rank)
        shutil.copytree(running.run, work.folder / f"to three {rank}")
        assert same_bits(resumed(f"killed {rank}", 2), work.folder / "two")
        assert apart(resumed(f"to three {rank}", 3), work.folder / "one") < tolerance


@pytest.mark.long
@pytest.mark.parametrize("backend", ["torch", "flax"])
def test_a_mean_picture_of_several_parts_is_that_of_one(backend: str, work: Work) -> None:
    """Where the run begins, and where rank 0 has not asked for it before it goes on."""
    given = (*LENGTH, "--with=mean=pixel")
    done(work.train(backend, "one", *given))
    done(work.train(backend, "two", *given, "--until=1", "--processes", "2"))
    done(resumed(work, "two", "--backend", backend, "--processes", "2"))
    assert apart(work.folder / "two", work.folder / "one") < RUN
    assert prepared(work.folder / "two") == prepared(work.folder / "one")


def prepared(run: Path) -> str:
    """How a run's pictures are prepared, with the mean picture."""
    return read_safetensors(run / "last.safetensors")[1]["preparation"]


@pytest.mark.long
@in_proc
def test_twenty_kills(runs: Work) -> None:
    """Of rank 0 and of the other, at any moment. The checkpoint is whole each time, and the run the same in the end."""
    draw, kills = random.Random(5), 0
    while kills < 20:
        running = Running(runs, "killed often")
        time.sleep(draw.uniform(0.1, 6.0))
        if not killed(running, kills % 2):
            assert same_bits(running.run, runs.folder / "two")
            shutil.rmtree(running.run)  # once more from the start
            continue
        kills += 1
        if (running.run / "run.json").exists():
            checkpoint(running.run)
    running = Running(runs, "killed often")
    assert running.end()[0] == 0
    assert same_bits(running.run, runs.folder / "two")


@pytest.mark.long
@in_proc
def test_whoever_is_asked_to_end_all_save_once(runs: Work) -> None:
    """SIGTERM for rank 1 alone, as a scheduler may send it."""
    running = Running(runs, "asked")
    while running.steps() < 3:
        time.sleep(0.01)
    process = running.rank(1)
    assert process is not None
    os.kill(process, signal.SIGTERM)
    code, said = running.end()
    assert code == 130
    assert said == f"resnet: stopped after step {running.steps()}, which is saved; use --resume to continue"
    done(resumed(runs, "asked", "--processes", "2"))
    assert same_bits(running.run, runs.folder / "two")


@pytest.fixture
def refused(work: Work) -> Any:
    def ask(backend: str, *more: str, **environment: str) -> str:
        process = resnet(*work.arguments(backend, "none", *more), **environment)
        assert process.returncode == 2
        (line,) = process.stderr.splitlines()
        assert not (work.folder / "none").exists()
        return line

    return ask


@pytest.mark.parametrize("backend", ["numpy", "onnx"])
def test_a_backend_that_does_not_offer_it_says_so(backend: str, refused: Any) -> None:
    line = refused(backend, "--processes", "2")
    expected = f"processes: backend {backend} does not train in several processes; use flax or torch, or one process"
    assert line == f"resnet: {expected}"


@pytest.mark.parametrize("engine", ["tensorflow", "torch"])
def test_an_engine_of_keras_that_does_not_offer_it_names_the_one_that_does(engine: str, refused: Any) -> None:
    line = refused("keras", "--processes", "2", KERAS_BACKEND=engine)
    way = "set KERAS_BACKEND=jax, with which runs and weights are the same"
    assert line == f"resnet: processes: Keras on {engine} trains in one process; {way}"


def test_what_cannot_be_is_one_line(refused: Any) -> None:
    """Of all processes together."""
    variables = {"RANK": "0", "WORLD_SIZE": "4"}
    message = "resnet: processes: received 2 where a launcher has made 4; leave --processes out"
    assert refused("torch", "--processes", "2", **variables, MASTER_ADDR="127.0.0.1") == message
    assert refused("torch", "--processes", "2", "--data", "nowhere.npz").startswith(
        "resnet: data: received 'nowhere.npz'"
    )
