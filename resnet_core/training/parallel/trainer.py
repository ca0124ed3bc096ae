"""A trainer that takes whole batches, as the run loop has them, in one of several processes."""

from __future__ import annotations

import numpy as np

from resnet_core.training.contract import StepInputs, StepResult, Trainer, TrainingState
from resnet_core.training.parallel.group import Group
from resnet_core.training.parallel.shards import longest, rows, shard


class ShardingTrainer:
    """Gives a backend's ParallelTrainer its rows of every batch, and puts together what all predict.

    `parts` is the recipe's `accumulate`, `equal` the trainer's. To the run loop it is a Trainer like another.
    """

    inputs: frozenset[str]

    def __init__(self, trainer: Trainer, group: Group, parts: int, *, equal: bool) -> None:
        self.trainer, self.group, self.parts, self.equal = trainer, group, parts, equal
        self.inputs = trainer.inputs

    def step(self, inputs: StepInputs) -> StepResult:
        """A step on the whole batch, of which this process takes its rows."""
        return self.trainer.step(shard(inputs, self.group.rank, self.group.processes, self.parts, equal=self.equal))

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Logits (batch, classes) of all images, of which each process predicts some; the same in every process."""
        count, processes = len(images), self.group.processes
        own = rows(count, self.group.rank, processes)
        logits = self.trainer.predict(images[own])
        sent = np.zeros((longest(count, processes), *logits.shape[1:]), logits.dtype)
        sent[: len(own)] = logits
        gathered = self.group.gather(sent)
        return np.concatenate([found[: len(rows(count, rank, processes))] for rank, found in enumerate(gathered)])

    def state(self) -> TrainingState:
        """The trainer's, which is the same in every process."""
        return self.trainer.state()
