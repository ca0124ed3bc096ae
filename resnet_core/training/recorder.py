"""All output of a run, to its files and to its reporter; the run loop only computes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from resnet_core.preparation import Inputs
from resnet_core.specification import ResNetSpec
from resnet_core.training.checkpoint import Checkpoint
from resnet_core.training.contract import TrainingState
from resnet_core.training.recipe import Recipe
from resnet_core.training.reporting import EpochRecord, Reporter, StepRecord
from resnet_core.training.run_folder import RunFolder

#: Seconds between writes to the log: short enough to follow the run, long enough that it hardly waits for the disk.
LOG_EVERY = 5.0


@dataclass
class RunRecorder:
    """Log, checkpoints, best weights and reporter of one run.

    `keep` is the number of checkpoints to keep, `data` the data set's fingerprint. Of several processes that train one
    run, one `writes`. Raises InputError if the disk cannot be written; what was saved before stays intact.
    """

    folder: RunFolder
    spec: ResNetSpec
    recipe: Recipe
    inputs: Inputs
    reporter: Reporter
    keep: int = 3
    data: str | None = None
    writes: bool = True
    pending: list[StepRecord | EpochRecord] = field(default_factory=list)  # not in the log yet
    logged: float = field(default_factory=time.perf_counter)  # when the log was last written

    def start(self, done: int, total: int, per_epoch: int) -> None:
        """Report that training begins."""
        self.reporter.start(done, total, per_epoch)

    def step(self, record: StepRecord, images: int) -> None:
        """Record and report a step; write the log from time to time."""
        self.pending.append(record)
        self.reporter.step(record, images)
        if time.perf_counter() - self.logged > LOG_EVERY:
            self.flush()

    def epoch(self, record: EpochRecord) -> None:
        """Record and report an epoch."""
        self.pending.append(record)
        self.reporter.epoch(record)

    def save(self, state: TrainingState, progress: dict[str, Any]) -> None:
        """Write the log, then a checkpoint, so that a checkpoint is never ahead of the log."""
        self.flush()
        if self.writes:
            checkpoint = Checkpoint(self.spec, self.recipe, state, progress, self.data)
            self.folder.save(checkpoint, self.inputs, self.keep)

    def save_best(self, state: TrainingState) -> None:
        """Replace the best weights."""
        if self.writes:
            self.folder.save_best(state.evaluated, self.spec, self.inputs)

    def last_checkpoint(self) -> str:
        """The newest checkpoint's file name, or "none"."""
        return next((path.name for path in self.folder.checkpoints()), "none")

    def flush(self) -> None:
        """Write pending records to the log."""
        if self.writes:
            self.folder.log([record.to_json() for record in self.pending])
        self.pending.clear()
        self.logged = time.perf_counter()
