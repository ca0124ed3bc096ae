"""Mistakes in the step of Keras on JAX over several devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
from parallel_devices import PLANTED

from resnet_keras import parallel

Norm = parallel.SharedBatchNormalization


def _statistics_per_rank(patch: pytest.MonkeyPatch) -> None:
    right = Norm.call

    def call(self: Any, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        whole = self.shared.mask
        if not training or whole is None:
            return right(self, inputs, training=training, mask=mask)
        outputs = []
        for own, rows in zip(keras.ops.split(inputs, PLANTED), keras.ops.split(whole, PLANTED), strict=True):
            self.shared.mask = rows
            outputs.append(right(self, own, training=training, mask=mask))
        self.shared.mask = whole
        return keras.ops.concatenate(outputs)

    patch.setattr(Norm, "call", call)


def _mean_of_means(patch: pytest.MonkeyPatch) -> None:
    right = parallel.ParallelTrainer._score

    def score(self: Any, *given: Any) -> Any:
        split = (keras.ops.split(each, PLANTED) for each in given)
        means = [right(self, *own)[0] for own in zip(*split, strict=True)]
        return sum(means) / PLANTED, right(self, *given)[1]

    patch.setattr(parallel.ParallelTrainer, "_score", score)


def _local_count(patch: pytest.MonkeyPatch) -> None:
    right = Norm.call

    def call(self: Any, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        before = self.momentum * self.moving_variance.value
        outputs = right(self, inputs, training=training, mask=mask)
        if training and self.shared.mask is not None:
            whole = keras.ops.sum(self.shared.mask) * (inputs.shape[1] * inputs.shape[2])
            own = whole / PLANTED
            factor = own / (own - 1) / (whole / (whole - 1))
            self.moving_variance.assign(before + (self.moving_variance.value - before) * factor)
        return outputs

    patch.setattr(Norm, "call", call)


def _padding_counted(patch: pytest.MonkeyPatch) -> None:
    right = Norm.call

    def call(self: Any, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        whole, self.shared.mask = self.shared.mask, None if self.shared.mask is None else 0 * self.shared.mask + 1
        outputs = right(self, inputs, training=training, mask=mask)
        self.shared.mask = whole
        return outputs

    patch.setattr(Norm, "call", call)


def _padding_scored(patch: pytest.MonkeyPatch) -> None:
    right = parallel.ParallelTrainer._score

    def score(self: Any, logits: Any, targets: Any, mask: Any) -> Any:
        return right(self, logits, targets, 0 * mask + 1)[0], right(self, logits, targets, mask)[1]

    patch.setattr(parallel.ParallelTrainer, "_score", score)


def _padding_right(patch: pytest.MonkeyPatch) -> None:
    """Among the correct images, and nowhere else."""
    right = parallel.ParallelTrainer._score

    def score(self: Any, logits: Any, targets: Any, mask: Any) -> Any:
        return right(self, logits, targets, mask)[0], right(self, logits, targets, 0 * mask + 1)[1]

    patch.setattr(parallel.ParallelTrainer, "_score", score)


#: {defect: how it is planted}.
DEFECTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "statistics per rank": _statistics_per_rank,
    "a mean of means": _mean_of_means,
    "the running variance by the local count": _local_count,
    "padding in the statistics": _padding_counted,
    "padding in the loss": _padding_scored,
    "padding among the correct": _padding_right,
}
