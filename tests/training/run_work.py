"""Small real data for whole runs, and the command line as a user calls it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import safetensors.numpy

from command_line import in_process
from resnet_core.data.images import sample_fashion

#: The network and the recipe of every run here: six epochs of ten steps, the last of which is not full.
NETWORK = ["resnet20", *(f"--set={field}" for field in ("depths=[1,1]", "channels=[4,8]", "in_channels=1"))]
RECIPE = (
    "learning_rate = 0.05\nmomentum = 0.9\nnesterov = true\nweight_decay = 1e-3\nschedule = 'step'\n"
    "milestones = [2, 4]\nepochs = 6\nbatch_size = 8\nlabel_smoothing = 0.1\npad_crop = 2\nflip = true\n"
    "mean = [0.286]\ndeviation = [0.353]\n"
)
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "KERAS_BACKEND": "tensorflow",
    "XLA_FLAGS": "--xla_backend_optimization_level=0",  # half of the time to compile
}


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-P", "-m", "resnet_core", *map(str, arguments)]


def resnet(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command, in a process of its own where it needs a framework or other variables."""
    if not environment and not {"torch", "keras", "flax"} & set(arguments):
        return in_process(*arguments, environment=ENVIRONMENT)
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        env={**os.environ, **ENVIRONMENT, **environment},
        timeout=300,
    )


class Work:
    """A folder with data and a recipe, in which runs are made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        images, labels = sample_fashion()
        images = images[:, ::2, ::2]  # 14 x 14: a step in milliseconds
        np.savez(folder / "data.npz", x_train=images[:76], y_train=labels[:76], x_test=images[76:], y_test=labels[76:])
        (folder / "recipe.toml").write_text(RECIPE)

    def arguments(self, backend: str, out: str, *more: str | Path) -> list[str | Path]:
        place = [
            "--data",
            self.folder / "data.npz",
            "--recipe",
            self.folder / "recipe.toml",
            "--out",
            self.folder / out,
        ]
        return ["train", *NETWORK, *place, "--backend", backend, "--device", "cpu", *more]

    def train(self, backend: str, out: str, *more: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return resnet(*self.arguments(backend, out, *more), **environment)


def weights(folder: Path, name: str = "last") -> dict[str, np.ndarray]:
    return safetensors.numpy.load_file(folder / f"{name}.safetensors")


def done(process: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    assert process.returncode == 0, process.stderr
    return process


def refused(process: subprocess.CompletedProcess[str], words: str, code: int = 2) -> None:
    assert process.returncode == code, process.stderr
    assert words in process.stderr
    assert "Traceback" not in process.stderr
    assert [line.startswith("resnet: ") for line in process.stderr.splitlines()].count(True) == 1
