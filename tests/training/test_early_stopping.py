"""A run with a patience: when it ends, what it says, and that it decides the same after it was interrupted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from run_work import Work, done, refused

import resnet_core as rn
from resnet_core.errors import RecipeError
from resnet_core.training.checkpoint import load_checkpoint

PER_EPOCH = 10


def accuracies(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line["test_accuracy"] for line in lines if line["kind"] == "epoch"]


def expected_end(found: list[float], patience: int) -> int:
    """The epoch after which a run with these accuracies ends."""
    for epoch in range(1, len(found) + 1):
        if epoch - (1 + found.index(max(found[:epoch]))) >= patience:
            return epoch
    return len(found)


def test_a_run_ends_when_its_patience_does_and_names_the_best_epoch(work: Work) -> None:
    done(work.train("numpy", "whole"))
    whole = accuracies(work.folder / "whole")
    end = expected_end(whole, 1)
    assert 1 < end < len(whole), "otherwise this shows nothing"
    process = done(work.train("numpy", "run", "--with", "patience=1"))
    assert accuracies(work.folder / "run") == whole[:end]
    best = 1 + whole.index(max(whole[:end]))
    assert f"stopped early after {end * PER_EPOCH} steps" in process.stdout
    assert f"best {max(whole[:end]):.4f} after epoch {best}\n" in process.stdout
    assert rn.recipe(work.folder / "run" / "recipe.toml").patience == 1

    again = done(work.train("numpy", "run", "--with", "patience=1", "--resume"))  # the decision stays
    assert again.stdout == process.stdout
    assert accuracies(work.folder / "run") == whole[:end]


def test_the_same_decision_after_every_interruption(work: Work) -> None:
    """From each of its checkpoints, those in the midst of an epoch and before an evaluation too."""
    still = ("--with", "learning_rate=1e-12", "--with", "patience=2")  # the norms settle, and no more
    often = ("--checkpoint-every", "4", "--keep", "99")
    done(work.train("numpy", "whole", *still, *often))
    whole = accuracies(work.folder / "whole")
    end = len(whole)
    assert end == expected_end(whole, 2) < 6
    paths = sorted((work.folder / "whole" / "checkpoints").iterdir())
    assert load_checkpoint(paths[-1]).progress["waited"] == 2
    for last in paths[1:-1]:
        run = shutil.copytree(work.folder / "whole", work.folder / last.stem)
        for path in (run / "checkpoints").iterdir():
            if path.name > last.name:
                path.unlink()
        result = rn.train(out=run, resume=True)
        assert (result.ended, result.step) == ("stopped early", end * PER_EPOCH), last.name
        assert result.best is not None
        assert result.best.epoch == end - 2
        assert (run / "last.safetensors").read_bytes() == (work.folder / "whole" / "last.safetensors").read_bytes()


def test_the_schedule_is_that_of_the_whole_length(work: Work) -> None:
    for out, more in (("whole", []), ("run", ["--with", "patience=1"])):
        cosine = ("--with", "schedule=cosine", "--with", "milestones=[]", "--with", "learning_rate=1e-12")
        done(work.train("numpy", out, *cosine, *more))
    lines = [(work.folder / run / "log.jsonl").read_text().splitlines() for run in ("whole", "run")]
    rates = [[json.loads(line).get("learning_rate") for line in found] for found in lines]
    assert 0 < len(rates[1]) < len(rates[0])
    assert rates[1] == rates[0][: len(rates[1])]


@pytest.mark.parametrize("patience", [0, -1, 1.5, "long"])
def test_a_patience_that_is_none_is_one_line(work: Work, patience: object) -> None:
    with pytest.raises(RecipeError, match=r"patience: received .* allowed is an integer from 1"):
        rn.recipe("fashion-adam", patience=patience)
    refused(work.train("numpy", "run", "--with", f"patience={patience}"), "patience: received")


def test_checkpoints_from_before_there_was_a_patience_resume(work: Work) -> None:
    """Their progress has no `waited`, and their recipe no `patience`."""
    from resnet_core.training.run_loop import RunProgress

    assert RunProgress(**{"loss": 0.0, "correct": 0, "images": 0, "seconds": 0.0, "best": 0.5}).waited == 0
    text = json.dumps({"learning_rate": 0.1, "epochs": 1, "batch_size": 8})
    from resnet_core.training.recipe_files import recipe_from_json

    assert recipe_from_json(text).patience is None
