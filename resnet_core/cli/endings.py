"""What the command says when a run ends: how it ended, where its files are, and what comes next."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resnet_core.training.start import TrainingResult


def ending(result: TrainingResult, test_name: str) -> str:
    """The result, in a line, with the evaluated pictures by their name; "" for a run without a finished epoch."""
    if result.last is None or result.best is None:
        return ""
    measured = f"{test_name} accuracy {result.last.test_accuracy:.4f}, {test_name} loss {result.last.test_loss:.4f}"
    best = f"best {result.best.test_accuracy:.4f} after epoch {result.best.epoch}"
    return f"{result.run}: {_steps(result, test_name)}, {measured}; {best}"


def following(result: TrainingResult) -> list[str]:
    """Where the files are, and the next commands: a line each."""
    run = shlex.quote(str(result.run))
    lines = [f"files: {', '.join(_files(result))}"]
    if result.ended == "until":
        lines.append(f"next: resnet train --out {run} --resume")
    else:
        lines.append(f"next: resnet predict {run} PICTURE…, or resnet evaluate {run}")
    return lines


def _steps(result: TrainingResult, test_name: str) -> str:
    if result.ended != "stopped early" or result.last is None or result.best is None:
        return f"{result.step} steps"
    waited = result.last.epoch - result.best.epoch
    return f"stopped early after {result.step} steps, without a better {test_name} accuracy for {waited} epochs"


def _files(result: TrainingResult) -> list[str]:
    """The files that somebody looks for after a run, those that are there, best weights first."""
    wanted = ("best.safetensors", "last.safetensors", "curves.png", "log.jsonl", "tensorboard")
    return [str(result.run / name) for name in wanted if (result.run / name).exists()]
