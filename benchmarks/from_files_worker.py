"""The part of `from_files.py` that runs in a framework's process: training from files and from memory take turns."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

import resnet_core as rn
from resnet_core.backend import TrainableBackend
from resnet_core.data.images import SAMPLES
from resnet_core.data.named import dataset
from resnet_core.training.contract import TrainingState
from resnet_core.training.pipeline import Pipeline
from resnet_core.training.random_factors import step_inputs
from resnet_core.training.recipe import Recipe
from resnet_core.training.schedule import step_numbers

CLASSES = 10


def measure(
    session: object,
    arrays: object,
    *,
    framework: str,
    spec: str,
    batch: int,
    size: int,
    steps: int,
    pairs: int,
    pictures: int,
) -> tuple[dict[str, Any], None]:
    """Seconds of every segment of `steps` steps, from files and from memory; and of the files' batches alone."""
    backend = cast(TrainableBackend, rn.load_backend(framework))
    backend.configure(device="cpu")
    network = rn.spec(spec, classes=CLASSES, input_size=size)
    common: dict[str, Any] = {"learning_rate": 0.01, "momentum": 0.9, "steps": 10**6, "batch_size": batch, "flip": True}
    with tempfile.TemporaryDirectory() as place:
        os.environ["XDG_CACHE_HOME"] = place
        files = dataset(_write_files(Path(place) / "files", pictures))
        memory = dataset(_write_arrays(Path(place) / "memory.npz", pictures, size))
        plan = Recipe(**common, resize=(size, size), crop_area=(0.08, 1))
        pipelines = {
            "files": Pipeline(files, plan, network),
            "memory": Pipeline(memory, Recipe(**common), network),
        }
        trainer = backend.Trainer(network, plan, TrainingState(rn.initialize(network, 0)))

        def segment(kind: str, start: int, count: int, *, trains: bool = True) -> float:
            pipeline, begin = pipelines[kind], time.perf_counter()
            for step, (images, labels) in pipeline.batches(start, start + count):
                if trains:
                    targets = pipeline.targets(step, labels)
                    numbers = step_numbers(plan, pipeline.steps_per_epoch, step)
                    trainer.step(step_inputs(network, plan.seed, step, images, targets, numbers))
            return time.perf_counter() - begin

        for kind in pipelines:
            segment(kind, 0, 2)  # it has compiled, and the files are in the system's memory
        found: dict[str, list[float]] = {"files": [], "memory": [], "alone": []}
        for pair in range(pairs):
            for kind in ("files", "memory") if pair % 2 else ("memory", "files"):
                found[kind].append(segment(kind, 2 + pair * steps, steps))
            found["alone"].append(segment("files", 2 + pair * steps, steps, trains=False))
    return {**found, "versions": backend.versions()}, None


def _write_files(folder: Path, count: int) -> Path:
    """JPEG files of 500 x 375, as ImageNet has them, each another part of the shipped photo."""
    with Image.open(SAMPLES / "photo.jpg") as opened:
        photo = opened.convert("RGB").resize((900, 675))
    rng = np.random.default_rng(0)
    for part, number in (("train", count), ("test", CLASSES)):
        for index in range(number):
            left, top = (int(each) for each in rng.integers(0, (400, 300)))
            own = folder / part / f"{index % CLASSES}"
            own.mkdir(parents=True, exist_ok=True)
            photo.crop((left, top, left + 500, top + 375)).save(own / f"{index}.jpg", quality=90)
    return folder


def _write_arrays(path: Path, count: int, size: int) -> Path:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count + CLASSES, size, size, 3), np.uint8)
    labels = np.arange(count + CLASSES) % CLASSES
    np.savez(path, x_train=images[:count], y_train=labels[:count], x_test=images[count:], y_test=labels[count:])
    return path
