"""A trainer in one of several processes that is one to the run loop: it takes its rows of a batch, or whole ones."""

from __future__ import annotations

import numpy as np

from resnet_core.training.contract import StepInputs, StepResult, Trainer, TrainingState
from resnet_core.training.parallel.group import Group
from resnet_core.training.parallel.shards import Share, longest, rows, shard


class ShardingTrainer:
    """Gives a backend's ParallelTrainer its rows of every batch, and puts together what all predict.

    `parts` is the recipe's `accumulate`, `equal` the trainer's. To the run loop it is a Trainer like another.
    """

    inputs: frozenset[str]

    def __init__(self, trainer: Trainer, group: Group, parts: int, *, equal: bool) -> None:
        self.trainer, self.group, self.parts, self.equal = trainer, group, parts, equal
        self.inputs = trainer.inputs
        self.share = Share(group.rank, group.processes, parts, equal)

    def step(self, inputs: StepInputs) -> StepResult:
        """A step on this process's rows, if the inputs say that they are a part, or on its rows of a whole batch."""
        if inputs.whole is not None:
            return self.trainer.step(inputs)
        return self.trainer.step(shard(inputs, self.group.rank, self.group.processes, self.parts, equal=self.equal))

    def predict(self, images: np.ndarray, whole: int | None = None) -> np.ndarray:
        """Logits (batch, classes) of all images, of which each process predicts some; the same in every process.

        With `whole`, so many are all, and the images are those that this process predicts (`Share.tested`).
        """
        count, processes = len(images) if whole is None else whole, self.group.processes
        own = self.share.tested(count)
        logits = self.trainer.predict(images[own] if whole is None else images)
        sent = np.zeros((longest(count, processes), *logits.shape[1:]), logits.dtype)
        sent[: len(own)] = logits
        gathered = self.group.gather(sent)
        return np.concatenate([found[: len(rows(count, rank, processes))] for rank, found in enumerate(gathered)])

    def state(self) -> TrainingState:
        """The trainer's, which is the same in every process."""
        return self.trainer.state()
