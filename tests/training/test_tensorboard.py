"""Event files, as TensorBoard's own reader reads them: they say what the log says, also after a run was interrupted."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_work import ENVIRONMENT, Work, command, done, refused, resnet

import resnet_core as rn
from hidden import hide

#: TensorBoard's reader in a process of its own, since it imports TensorFlow where that is installed.
READER = """
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0}).Reload()
found = {tag: [[e.step, e.value, e.wall_time] for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
print(json.dumps(found))
"""


def read(run: Path) -> dict[str, list[list[float]]]:
    process = subprocess.run(
        [sys.executable, "-c", READER, str(run / "tensorboard")],
        capture_output=True, text=True, check=False, timeout=300, env={**os.environ, **ENVIRONMENT},
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    found: dict[str, list[list[float]]] = json.loads(process.stdout)
    return found


def equal_to_the_log(run: Path) -> None:
    records: list[dict[str, Any]] = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    found = read(run)
    tags = {f"training/{name}": ("step", name) for name in ("loss", "accuracy", "learning_rate")}
    tags |= {f"test/{name}": ("epoch", f"test_{name}") for name in ("loss", "accuracy")}
    assert found.keys() == tags.keys()
    for tag, (kind, name) in tags.items():
        wanted = [(record["step"], record[name]) for record in records if record["kind"] == kind]
        assert [step for step, _, _ in found[tag]] == [step for step, _ in wanted], tag
        np.testing.assert_allclose([value for _, value, _ in found[tag]], [value for _, value in wanted], rtol=1e-6)
        times = [at for _, _, at in found[tag]]
        assert times == sorted(times)
        assert time.time() - 600 < times[0] <= times[-1] < time.time() + 1
    assert len(list((run / "tensorboard").iterdir())) == 1


def test_the_event_files_say_what_the_log_says(work: Work) -> None:
    process = done(work.train("numpy", "run", "--tensorboard", "--epochs", "2"))
    equal_to_the_log(work.folder / "run")
    assert str(work.folder / "run" / "tensorboard") in process.stderr


def test_a_run_that_was_killed_and_resumed_has_no_step_twice_and_none_is_missing(work: Work) -> None:
    run, log = work.folder / "run", work.folder / "run" / "log.jsonl"
    arguments = work.arguments("numpy", "run", "--tensorboard")
    process = subprocess.Popen(
        command(*arguments), env={**os.environ, **ENVIRONMENT}, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    while process.poll() is None and not (log.exists() and log.read_text().count('"epoch"') >= 2):
        time.sleep(0.01)
    time.sleep(0.03)  # some steps of the next epoch, which are repeated
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run had ended"
    shutil.copytree(run / "tensorboard", work.folder / "killed")
    done(resnet("train", "--out", run, "--resume", "--until", "4"))  # without event files
    done(resnet("train", "--out", run, "--resume", "--tensorboard"))
    equal_to_the_log(run)
    for path in (work.folder / "killed").iterdir():  # as if it had been killed before the earlier file was removed
        shutil.copy(path, run / "tensorboard")
    found = read(run)["training/loss"]
    assert [step for step, _, _ in found] == list(range(1, 61))


@pytest.mark.parametrize("ahead", [0, 3600], ids=["the second", "a clock that was set back"])
def test_a_session_sorts_behind_earlier_ones_whatever(work: Work, ahead: int) -> None:
    done(work.train("numpy", "run", "--tensorboard", "--until", "1"))
    folder = work.folder / "run" / "tensorboard"
    (first,) = folder.iterdir()
    # As two sessions of one second, the earlier by a process with a higher number.
    name = f"events.out.tfevents.{int(time.time()) + 5 + ahead:010d}.~.1.1"
    killed = work.folder / name
    shutil.move(first, killed)
    shutil.copy(killed, folder)
    done(resnet("train", "--out", work.folder / "run", "--resume", "--until", "2", "--tensorboard"))
    equal_to_the_log(work.folder / "run")
    shutil.copy(killed, folder)
    assert [step for step, _, _ in read(work.folder / "run")["training/loss"]] == list(range(1, 21))


def test_without_the_library_it_is_one_line_and_nothing_is_left(work: Work) -> None:
    hidden = hide(work.folder, "tensorboard")
    process = work.train("numpy", "run", "--tensorboard", PYTHONPATH=hidden)
    refused(process, 'event files need tensorboard, which is not installed: pip install "tensorboard>=2.18"')
    assert not (work.folder / "run").exists()
    done(work.train("numpy", "run", "--until", "1", PYTHONPATH=hidden))


def test_a_place_that_is_no_folder_is_one_line(work: Work) -> None:
    done(work.train("numpy", "run", "--until", "1"))
    (work.folder / "run" / "tensorboard").write_text("")
    with pytest.raises(rn.InputError, match=r"tensorboard: event files cannot be written \(File exists\)"):
        rn.train(out=work.folder / "run", resume=True, tensorboard=True)


def test_writing_events_imports_no_framework() -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from resnet_core.training.run_folder import RunFolder\n"
        "from resnet_core.training.tensorboard import TensorBoard\n"
        "TensorBoard(RunFolder(Path('run')))\n"
        "assert 'tensorboard' in sys.modules\n"
        "assert not {'torch', 'tensorflow', 'jax', 'keras'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
