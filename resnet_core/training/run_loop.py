"""The run loop, the same for every backend: it feeds a trainer, averages over epochs, and saves the run.

A backend provides a `Trainer`; everything else is decided here, such as the order of the data, the numbers of each
step, evaluation and when to save. So a run may change its framework between any two steps. The loop itself touches
no file and no reporter: the recorder does.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from resnet_core.errors import TrainingError
from resnet_core.specification import ResNetSpec
from resnet_core.training.contract import StepResult, Trainer
from resnet_core.training.evaluation import score
from resnet_core.training.interruptions import deferred_interruptions
from resnet_core.training.parallel.shards import Share
from resnet_core.training.pipeline import Pipeline, Rows
from resnet_core.training.random_factors import step_inputs
from resnet_core.training.recorder import RunRecorder
from resnet_core.training.reporting import EpochRecord, StepRecord
from resnet_core.training.schedule import step_numbers


@dataclass
class RunProgress:
    """The sums of the current epoch, the best test accuracy so far (-1 before the first), and the epochs since."""

    loss: float = 0.0
    correct: int = 0
    images: int = 0
    seconds: float = 0.0
    best: float = -1.0
    waited: int = 0

    def add(self, result: StepResult, images: int, seconds: float) -> None:
        """Add a step on `images` images."""
        self.loss += result.loss * images
        self.correct += result.correct
        self.images += images
        self.seconds += seconds

    def reset(self) -> None:
        """Begin the next epoch; the best accuracy and the epochs since are kept."""
        self.loss, self.correct, self.images, self.seconds = 0.0, 0, 0, 0.0

    def unevaluated(self, done: int, per_epoch: int, total: int) -> bool:
        """Whether after `done` of `total` steps an epoch has ended, but not its evaluation."""
        return self.images > 0 and (done % per_epoch == 0 or done == total)

    def exhausted(self, patience: int | None) -> bool:
        """Whether so many epochs have not been better than the best that the run ends."""
        return patience is not None and self.waited >= patience

    def to_json(self) -> dict[str, Any]:
        """The fields as a dictionary, for the checkpoint; `RunProgress(**fields)` restores it."""
        return asdict(self)


@dataclass
class RunLoop:
    """The steps of a run. `checkpoint_every` is in steps; the end of an epoch is always saved.

    Several processes that train one run `agree` after each step whether it was interrupted in any of them, and each
    prepares its `share` of every batch alone.
    """

    spec: ResNetSpec
    pipeline: Pipeline
    trainer: Trainer
    progress: RunProgress
    recorder: RunRecorder
    backend: str
    checkpoint_every: int
    agree: Callable[[bool], bool] = bool
    share: Share | None = None

    def run(self, start: int, stop: int) -> int:
        """Take the steps in range(start, stop); the last one is saved.

        Returns the number of steps that the run has taken: less than `stop` after Ctrl-C, SIGTERM or SIGHUP, when the
        current step is saved too, and where the recipe's patience is exhausted. Raises TrainingError if the loss is NaN
        or infinite.
        """
        per_epoch, total = self.pipeline.steps_per_epoch, self.pipeline.total_steps
        self.recorder.start(start, stop, per_epoch)
        done = start
        if self.progress.unevaluated(start, per_epoch, total):
            self._end_epoch(start)
            self.recorder.save(self.trainer.state(), self.progress.to_json())
        if self.exhausted:
            return done
        with self.pipeline.at_work(), deferred_interruptions() as interrupted:
            for step, (images, labels) in self.pipeline.batches(start, stop, self._rows):
                self._step(step, images, labels)
                done = step + 1
                ends_epoch = done % per_epoch == 0
                if ends_epoch or done == total:
                    # Saved first: a test picture that cannot be read does not cost the epoch.
                    self.recorder.save(self.trainer.state(), self.progress.to_json())
                    self._end_epoch(done)
                ends = self.agree(interrupted())
                if ends_epoch or done % self.checkpoint_every == 0 or done == stop or ends:
                    self.recorder.save(self.trainer.state(), self.progress.to_json())
                if ends or (ends_epoch and self.exhausted):
                    break
        return done

    @property
    def exhausted(self) -> bool:
        """Whether the run has ended early."""
        return self.progress.exhausted(self.pipeline.recipe.patience)

    @property
    def _rows(self) -> Rows | None:
        """Which rows of a batch are prepared here; None for all."""
        return None if self.share is None else self.share.rows

    def _step(self, step: int, images: np.ndarray, labels: np.ndarray) -> None:
        recipe = self.pipeline.recipe
        numbers = step_numbers(recipe, self.pipeline.steps_per_epoch, step)
        targets = self.pipeline.targets(step, labels, self._rows)
        inputs = step_inputs(self.spec, recipe.seed, step, images, targets, numbers, len(labels))
        if self.share is not None:
            inputs = self.share.inputs(inputs, len(labels))
        begin = time.perf_counter()
        result = self.trainer.step(inputs)
        seconds = time.perf_counter() - begin
        if not math.isfinite(result.loss):
            self.recorder.flush()  # logs the losses that led here
            raise TrainingError(
                f"the loss is {result.loss} at step {step + 1} (learning rate {numbers.learning_rate:g}); that step is "
                f"not saved, the last checkpoint is {self.recorder.last_checkpoint()}; "
                "use a smaller learning rate"
            )
        self.progress.add(result, len(labels), seconds)
        accuracy = result.correct / len(labels)
        record = StepRecord(step + 1, result.loss, accuracy, numbers.learning_rate, round(seconds, 6))
        self.recorder.step(record, len(labels))

    def _end_epoch(self, done: int) -> None:
        progress, scores = self.progress, score(self.trainer.predict, self.pipeline, share=self.share)
        record = EpochRecord(
            step=done,
            epoch=-(-done // self.pipeline.steps_per_epoch),
            loss=progress.loss / progress.images,
            accuracy=progress.correct / progress.images,
            test_loss=scores.loss,
            test_accuracy=scores.accuracy,
            seconds=round(progress.seconds, 3),
            backend=self.backend,
        )
        if scores.accuracy > progress.best:
            progress.best, progress.waited = scores.accuracy, 0
            self.recorder.save_best(self.trainer.state())
        else:
            progress.waited += 1
        progress.reset()
        self.recorder.epoch(record)
