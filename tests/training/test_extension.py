"""A run gets another length: what is said, what is recorded, what is refused, and what a kill leaves."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run_work import Work, done, refused, resnet

import resnet_core as rn
from resnet_core import weight_file
from resnet_core.errors import InputError
from resnet_core.training import checkpoint, recipe_files, run_folder
from resnet_core.training.checkpoint import load_checkpoint
from resnet_core.training.extension import extension_note
from resnet_core.training.schedule import learning_rate

PER_EPOCH = 10
COSINE = ("--with", "schedule=cosine", "--with", "milestones=[]", "--with", "epochs=2")


def lines(run: Path, kind: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line for line in found if line["kind"] == kind]


def newest(run: Path) -> Path:
    return sorted((run / "checkpoints").iterdir())[-1]


def sessions(run: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((run / "run.json").read_text())["sessions"]
    return found


def test_a_finished_run_goes_on_for_more_epochs_and_says_what_its_rates_were(work: Work) -> None:
    run = work.folder / "run"
    done(work.train("numpy", "run", *COSINE))
    process = done(resnet("train", "--out", run, "--resume", "--epochs", "4"))
    old, new = rn.recipe(run / "recipe.toml", epochs=2), rn.recipe(run / "recipe.toml")
    last, following = learning_rate(old, PER_EPOCH, 19), learning_rate(new, PER_EPOCH, 20)
    assert last < 1e-3 < following
    (said,) = [line for line in process.stderr.splitlines() if line.startswith("the run is now")]
    assert said == (
        "the run is now 4 epochs long instead of 2: the learning rates of the 20 steps already taken were those of "
        f"2 epochs (cosine); it goes from {last:.2g} to {following:.2g} at step 21, and to 0 by step 40"
    )
    rates = [line["learning_rate"] for line in lines(run, "step")]
    assert rates == [learning_rate(old, 10, step) for step in range(20)] + [
        learning_rate(new, 10, step) for step in range(20, 40)
    ]
    assert [line["epoch"] for line in lines(run, "epoch")] == [1, 2, 3, 4]
    assert new.epochs == 4
    assert load_checkpoint(newest(run)).recipe == new
    assert [session.get("extended") for session in sessions(run)] == [None, {"unit": "epochs", "from": 2, "to": 4}]
    assert "the run is now" not in done(resnet("train", "--out", run, "--resume")).stderr


def test_with_a_constant_rate_an_extended_run_is_the_longer_run(work: Work) -> None:
    constant = ("--with", "schedule=constant", "--with", "milestones=[]")
    done(work.train("numpy", "whole", *constant, "--epochs", "3"))
    done(work.train("numpy", "run", *constant, "--epochs", "2"))
    result = rn.train(out=work.folder / "run", resume=True, epochs=3)
    assert (result.ended, result.step) == ("finished", 30)
    for file in ("last.safetensors", "best.safetensors", "recipe.toml"):
        assert (work.folder / "run" / file).read_bytes() == (work.folder / "whole" / file).read_bytes(), file


def test_a_run_of_steps_that_ends_amid_an_epoch_is_extended(work: Work) -> None:
    more = ("--with", "schedule=constant", "--with", "milestones=[]")
    done(work.train("numpy", "run", *more, "--steps", "15"))
    assert [line["step"] for line in lines(work.folder / "run", "epoch")] == [10, 15]
    done(resnet("train", "--out", work.folder / "run", "--resume", "--steps", "20"))
    assert [line["step"] for line in lines(work.folder / "run", "epoch")] == [10, 15, 20]
    done(work.train("numpy", "whole", *more, "--steps", "20"))
    whole, run = (work.folder / name / "last.safetensors" for name in ("whole", "run"))
    assert whole.read_bytes() == run.read_bytes()


def test_what_cannot_be_a_length_is_one_line_and_changes_nothing(work: Work) -> None:
    run = work.folder / "run"
    done(work.train("numpy", "run", *COSINE))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    for more, words in (
        (["--epochs", "1"], "epochs: received 1; the run has taken 20 steps; expected at least 2"),
        (["--steps", "30"], "steps: received 30; the run's length is 2 epochs, so give epochs"),
        (["--steps", "30", "--epochs", "3"], "epochs: received 3, and steps = 30; expected one of them"),
        (["--with", "epochs=3"], "is a run with another recipe"),
    ):
        refused(resnet("train", "--out", run, "--resume", *more), words)
    with pytest.raises(InputError, match="epochs: received 0; expected an integer from 1"):
        rn.train(out=run, resume=True, epochs=0)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("fields", "longer", "words"),
    [
        ({"schedule": "constant", "epochs": 2}, {"epochs": 3}, "the 20 steps already taken stay right, and nothing"),
        ({"schedule": "step", "milestones": [1], "epochs": 2}, {"epochs": 3}, "stay right, and nothing else changes"),
        ({"schedule": "cosine", "epochs": 2}, {"epochs": 4}, "it goes from 0.00062 to 0.05 at step 21, and to 0 by"),
        ({"schedule": "cosine", "steps": 20}, {"steps": 40}, "steps already taken were those of 20 steps (cosine)"),
        ({"schedule": "cosine", "epochs": 4}, {"epochs": 2}, "the run is now 2 epochs long instead of 4: no step is"),
    ],
)
def test_the_note_says_what_the_schedule_makes_of_it(fields: dict[str, Any], longer: Any, words: str) -> None:
    old = rn.recipe("d2l", **{"learning_rate": 0.1, **fields})
    note = extension_note(old, rn.recipe(old, **longer), PER_EPOCH, 20)
    assert words in note
    assert "\n" not in note


def test_a_run_that_stopped_early_goes_on_where_it_gets_more_epochs(work: Work) -> None:
    still = ("--with", "learning_rate=1e-12", "--with", "patience=1", "--with", "schedule=constant")
    done(work.train("numpy", "run", *still, "--with", "milestones=[]"))
    run = work.folder / "run"
    before = len(lines(run, "epoch"))
    assert before < 6
    assert rn.train(out=run, resume=True).step == before * PER_EPOCH
    result = rn.train(out=run, resume=True, epochs=8)
    assert (result.ended, len(result.epochs)) == ("stopped early", before + 1)


class Killed(BaseException):
    """What no code of ours expects."""


def killing(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Kill the process before its write of that number."""
    count = 0

    def counted(own: Callable[..., None]) -> Callable[..., None]:
        def write(*arguments: Any) -> None:
            nonlocal count
            count += 1
            if count == number:
                raise Killed
            own(*arguments)

        return write

    for module in (run_folder, recipe_files):
        monkeypatch.setattr(module, "write_atomically", counted(module.write_atomically))
    for module in (checkpoint, weight_file):
        monkeypatch.setattr(module, "write_safetensors", counted(module.write_safetensors))


@pytest.mark.parametrize(("patience", "old", "new"), [("none", 2, 3), ("1", 4, 5)])
def test_an_extension_that_is_killed_at_any_write_loses_nothing(
    work: Work, patience: str, old: int, new: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the next session asks again or not, the run is whole, and of the old length or of the new one.

    With a patience of 1, the run has ended early before.
    """
    short, whole = work.folder / "short", work.folder / "whole"
    rate = "0.05" if patience == "none" else "1e-12"
    changes = (f"patience={patience}", f"learning_rate={rate}", f"epochs={old}")
    done(work.train("numpy", "short", *COSINE, *(f"--with={change}" for change in changes)))
    shutil.copytree(short, whole)
    assert rn.train(out=whole, resume=True, epochs=new).step == load_checkpoint(newest(short)).state.step + PER_EPOCH

    lengths: list[int | None] = []
    for number in itertools.count(1):
        run = shutil.copytree(short, work.folder / f"run{number}")
        with monkeypatch.context() as patch:
            killing(patch, number)
            try:
                rn.train(out=run, resume=True, epochs=new)
            except Killed:
                pass
            else:
                break
        again = shutil.copytree(run, work.folder / f"again{number}")
        rn.train(out=run, resume=True, epochs=new)
        rn.train(out=again, resume=True)
        lengths.append(rn.recipe(again / "recipe.toml").epochs)
        for folder, expected in ((run, whole), (again, whole if lengths[-1] == new else short)):
            assert (folder / "last.safetensors").read_bytes() == (expected / "last.safetensors").read_bytes(), number
            assert load_checkpoint(newest(folder)).recipe == rn.recipe(folder / "recipe.toml")
            told = {session["extended"]["to"] for session in sessions(folder) if "extended" in session}
            assert told == ({new} if rn.recipe(folder / "recipe.toml").epochs == new else set())
            assert lines(folder, "epoch")[-1]["test_loss"] == lines(expected, "epoch")[-1]["test_loss"]
    assert set(lengths[:2]) == {old}
    assert set(lengths[2:]) == {new}
    assert len(lengths) > 6, "the writes of the steps and of the evaluation too"
