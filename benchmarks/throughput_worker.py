"""The part of `throughput.py` that runs in a framework's process: the run loop and the bare step take turns."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import usage

import resnet_core as rn
from resnet_core.backend import TrainableBackend
from resnet_core.data.dataset import Dataset
from resnet_core.data.named import dataset
from resnet_core.preparation import Inputs
from resnet_core.training.checkpoint import Checkpoint
from resnet_core.training.contract import TrainingState
from resnet_core.training.pipeline import Pipeline
from resnet_core.training.recipe_files import recipe
from resnet_core.training.recorder import RunRecorder
from resnet_core.training.reporting import as_reporter
from resnet_core.training.run_folder import RunFolder
from resnet_core.training.run_loop import RunLoop, RunProgress


class TimedFolder(RunFolder):
    """Records how long checkpoints take."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.seconds: list[float] = []

    def save(self, checkpoint: Checkpoint, inputs: Inputs, keep: int) -> None:
        begin = time.perf_counter()
        super().save(checkpoint, inputs, keep)
        self.seconds.append(time.perf_counter() - begin)


def measure(
    session: object, arrays: object, *, framework: str, spec: str, batch: int, steps: int, pairs: int
) -> tuple[dict[str, Any], None]:
    """Seconds of every segment of `steps` steps, for the loop (without its checkpoint) and for the bare step."""
    backend = cast(TrainableBackend, rn.load_backend(framework))
    backend.configure(device="cpu")
    network = rn.spec(spec, in_channels=1, classes=10, input_size=28)
    # The augmentation of the recipe that has most of it; as many steps as are measured.
    plan = recipe("fashion-resnet20", steps=10**6, warmup=0, batch_size=batch)
    with tempfile.TemporaryDirectory() as place:
        pipeline = Pipeline(_pictures(Path(place), batch * steps * (pairs + 2)), plan, network)
        state, progress = TrainingState(rn.initialize(network, 0)), RunProgress()
        folder = TimedFolder(Path(place) / "run")
        folder.create(Checkpoint(network, plan, state, progress.to_json()), pipeline.inputs, {})
        trainer = backend.Trainer(network, plan, state)
        recorder = RunRecorder(folder, network, plan, pipeline.inputs, as_reporter(None))
        loop = RunLoop(network, pipeline, trainer, progress, recorder, framework, checkpoint_every=10**9)

        images, labels = pipeline.batch(0)
        bare = usage.load(framework).train_step(rn.build(network, backend=framework, seed=0), images, labels)
        loop.run(0, 2)  # both have compiled
        for _ in range(2):
            bare()
        folder.seconds.clear()
        found: dict[str, list[float]] = {"loop": [], "bare": []}
        for pair in range(pairs):
            for kind in ("loop", "bare") if pair % 2 else ("bare", "loop"):
                begin = time.perf_counter()
                if kind == "loop":
                    loop.run(2 + pair * steps, 2 + (pair + 1) * steps)
                else:
                    for _ in range(steps):
                        bare()
                found[kind].append(time.perf_counter() - begin)
    found["loop"] = [loop - save for loop, save in zip(found["loop"], folder.seconds, strict=True)]
    return {**found, "checkpoint": folder.seconds, "versions": backend.versions()}, None


def _pictures(folder: Path, count: int) -> Dataset:
    """`count` random pictures, enough that no epoch ends during a measurement."""
    random = np.random.default_rng(0)
    images, labels = random.integers(0, 256, (count, 28, 28), np.uint8), np.arange(count) % 10
    np.savez(folder / "data.npz", x_train=images, y_train=labels, x_test=images[:10], y_test=labels[:10])
    return dataset(folder / "data.npz")
