"""Several processes that each read their rows alone: one run, and what one of them would have read."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import resnet_core as rn
import resnet_numpy
from resnet_core.data.dataset import Dataset
from resnet_core.data.images import sample_fashion
from resnet_core.data.named import dataset
from resnet_core.numerics import relative_error
from resnet_core.training.checkpoint import Checkpoint
from resnet_core.training.contract import TrainingState
from resnet_core.training.parallel.group import any_of
from resnet_core.training.parallel.shards import Share
from resnet_core.training.parallel.threads import ThreadGroup, together
from resnet_core.training.parallel.trainer import ShardingTrainer
from resnet_core.training.pipeline import Pipeline
from resnet_core.training.recipe import Recipe
from resnet_core.training.recorder import RunRecorder
from resnet_core.training.reporting import as_reporter
from resnet_core.training.run_folder import FORMAT, RunFolder
from resnet_core.training.run_loop import RunLoop, RunProgress
from resnet_numpy.parallel import ParallelTrainer

SPEC = rn.spec("resnet20", classes=2, in_channels=1, depths=[1, 1], channels=[4, 8], input_size=[14, 12], dropout=0.2)
#: Mixing pairs rows of different processes; 17 pictures in batches of 7 leave 3, for four processes.
RECIPE = Recipe(
    learning_rate=0.05, momentum=0.9, epochs=2, batch_size=7, mixup=0.4, crop_area=(0.3, 1), flip=True, resize=(14, 12)
)


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    pictures, labels = sample_fashion(24)
    for number, (picture, label) in enumerate(zip(pictures, labels % 2, strict=True)):
        place = tmp_path / "pictures" / ("train" if number < 17 else "test") / "ab"[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture[..., 0]).save(place / f"{number:02}.png")
    return dataset(tmp_path / "pictures")


def run(data: Dataset, folder: Path, group: ThreadGroup | None = None) -> tuple[TrainingState, list[dict[str, Any]]]:
    """The state and the log after all steps, of one process or as one of several."""
    pipeline, state = Pipeline(data, RECIPE, SPEC, workers=2), TrainingState(rn.probe_weights(SPEC, 2, "float64"))
    trainer: Any = resnet_numpy.Trainer(SPEC, RECIPE, state, dtype="float64")
    share = None
    if group is not None:
        own = ParallelTrainer(SPEC, RECIPE, state, dtype="float64", group=group)
        trainer = ShardingTrainer(own, group, RECIPE.accumulate, equal=False)
        share = Share(group.rank, group.processes)
    writes = group is None or group.rank == 0
    files = RunFolder(folder)
    if writes:
        folder.mkdir(exist_ok=True)
        files.create(Checkpoint(SPEC, RECIPE, state, RunProgress().to_json(), "x"), pipeline.inputs, {"format": FORMAT})
    recorder = RunRecorder(files, SPEC, RECIPE, pipeline.inputs, as_reporter(None), data="x", writes=writes)
    agree = bool if group is None else partial(any_of, group)
    loop = RunLoop(SPEC, pipeline, trainer, RunProgress(), recorder, "numpy", 100, agree, share)
    assert loop.run(0, pipeline.total_steps) == pipeline.total_steps
    return trainer.state(), [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines() if writes]


@pytest.mark.parametrize("processes", [2, 3, 4])
def test_a_run_in_which_each_reads_its_rows_is_the_run_of_one(processes: int, data: Dataset, tmp_path: Path) -> None:
    true, records = run(data, tmp_path / "one")
    every = together(processes, lambda group: run(data, tmp_path / "several", group))
    for state, _ in every:
        found = state.to_arrays()
        assert max(relative_error(found[name], array) for name, array in true.to_arrays().items()) < 1e-10
    assert len(records) == len(every[0][1]) == 8
    for one, other in zip(records, every[0][1], strict=True):
        assert one.keys() == other.keys()
        for name in ("loss", "accuracy", "test_loss", "test_accuracy"):
            assert np.isclose(one.get(name, 0), other.get(name, 0), rtol=1e-10, atol=0)


def test_rows_of_another_rank_are_caught(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true, _ = run(data, tmp_path / "one")
    right = Share.rows
    monkeypatch.setattr(Share, "rows", lambda self, count: right(Share(0, self.processes), count))
    (state, _), _ = together(2, lambda group: run(data, tmp_path / "several", group))
    found = state.to_arrays()
    assert max(relative_error(found[name], array) for name, array in true.to_arrays().items()) > 1e-4
