"""What is asked of Flax over several devices, and mistakes in its step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from parallel_devices import PLANTED
from shared_steps import RECIPES, SPECS, Found, start, taken

from resnet_core.training.parallel.devices import DevicesTrainer
from resnet_core.training.parallel.jax_processes import JaxProcesses
from resnet_flax import normalization, parallel, repetition
from resnet_flax import trainer as training


def loops(session: Any, arrays: Any, *, processes: int) -> tuple[int, Found]:
    """The loops of a network of equal blocks, and {"found": …, "true": …} of a step through them."""
    network, plan = SPECS["equal blocks"], RECIPES["momentum"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repetition, "LEAST", 3)
        made = []
        right = repetition.repeat
        patch.setattr("resnet_flax.lowering.repeat", lambda *given: made.append(1) or right(*given))
        group = JaxProcesses(jax, 0, jax.devices()[:processes])
        own = parallel.ParallelTrainer(network, plan, start(network), dtype="float64", group=group)
        found = taken(DevicesTrainer(own, processes, 1), network, plan, 1)
    true = taken(training.Trainer(network, plan, start(network), dtype="float64"), network, plan, 1)
    return len(made), {f"found.{name}": a for name, a in found.items()} | {f"true.{n}": a for n, a in true.items()}


def collectives(session: Any, arrays: Any, *, spec: str, recipe: str, processes: int) -> tuple[str, None]:
    """The compiled step as text."""
    network, plan = SPECS[spec], RECIPES[recipe]
    texts: list[str] = []
    right = parallel.ParallelTrainer._step

    def step(self: Any, *given: Any) -> Any:
        texts.append(right.lower(self, *given).compile().as_text())
        return right(self, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel.ParallelTrainer, "_step", step)
        group = JaxProcesses(jax, 0, jax.devices()[:processes])
        own = parallel.ParallelTrainer(network, plan, start(network), dtype="float64", group=group)
        taken(DevicesTrainer(own, processes, plan.accumulate), network, plan, 1)
    return texts[0], None


def _statistics_per_rank(patch: pytest.MonkeyPatch) -> None:
    """Each shard is normalized by itself, and what the first sees is learned."""
    right = normalization.BatchNorm.__call__

    def call(self: Any, x: Any, *given: Any, **named: Any) -> Any:
        counted, outputs, seen = normalization.COUNTED.get(), [], []
        before = self.mean.get_value(), self.var.get_value()
        for own, rows in zip(jnp.split(x, PLANTED), jnp.split(counted, PLANTED), strict=True):
            self.mean.set_value(before[0])
            self.var.set_value(before[1])
            token = normalization.COUNTED.set(rows)
            outputs.append(right(self, own, *given, **named))
            normalization.COUNTED.reset(token)
            seen.append((self.mean.get_value(), self.var.get_value()))
        self.mean.set_value(seen[0][0])
        self.var.set_value(seen[0][1])
        return jnp.concatenate(outputs)

    patch.setattr(normalization.BatchNorm, "__call__", call)


def _mean_of_means(patch: pytest.MonkeyPatch) -> None:
    right = parallel.ParallelTrainer._score

    def score(self: Any, logits: Any, batch: Any, count: int) -> Any:
        images, targets, factors, mask = batch
        length, means = len(logits) // PLANTED, []
        for rank in range(PLANTED):
            rows = slice(rank * length, (rank + 1) * length)
            own = images[rows], targets[rows], factors, mask[rows]
            means.append(right(self, logits[rows], own, 1)[0] / mask[rows].sum())
        return sum(means) / PLANTED, right(self, logits, batch, count)[1]

    patch.setattr(parallel.ParallelTrainer, "_score", score)


def _not_reduced(patch: pytest.MonkeyPatch) -> None:
    """One gradient is that of the first shard's losses alone."""
    right, score = parallel.ParallelTrainer._gradients, parallel.ParallelTrainer._score

    def alone(self: Any, logits: Any, batch: Any, count: int) -> Any:
        images, targets, factors, mask = batch
        first = mask * (jnp.arange(len(mask)) < len(mask) // PLANTED)
        return score(self, logits, (images, targets, factors, first), count)

    def gradients(self: Any, *given: Any) -> Any:
        found, *rest = right(self, *given)
        with pytest.MonkeyPatch.context() as inside:
            inside.setattr(parallel.ParallelTrainer, "_score", alone)
            own = right(self, *given)[0]
        name = "stage1.block1.norm1.bias"
        return {**found, name: own[name]}, *rest

    patch.setattr(parallel.ParallelTrainer, "_gradients", gradients)


def _local_count(patch: pytest.MonkeyPatch) -> None:
    right = training.variance_corrections
    patch.setattr(
        training,
        "variance_corrections",
        lambda spec, shape, *more: right(spec, (shape[0] // PLANTED, *shape[1:]), *more),
    )


def _padding_counted(patch: pytest.MonkeyPatch) -> None:
    """The norms are not told which rows fill up."""
    patch.setattr(parallel, "COUNTED", type(normalization.COUNTED)("unseen", default=None))


def _padding_scored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(parallel.ParallelTrainer, "_score", training.Trainer._score)


def _padding_right(patch: pytest.MonkeyPatch) -> None:
    """Among the correct images, and nowhere else."""
    right = parallel.ParallelTrainer._score

    def score(self: Any, logits: Any, batch: Any, count: int) -> Any:
        return right(self, logits, batch, count)[0], training.hits(logits, batch[1]).sum()

    patch.setattr(parallel.ParallelTrainer, "_score", score)


def _parts_of_all_rows(patch: pytest.MonkeyPatch) -> None:
    """The parts are cut as if the rows were not in shards."""
    patch.setattr(parallel.ParallelTrainer, "_cut", training.Trainer._cut)


#: {defect: how it is planted}.
DEFECTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "statistics per rank": _statistics_per_rank,
    "a mean of means": _mean_of_means,
    "a gradient that is not reduced": _not_reduced,
    "the running variance by the local count": _local_count,
    "padding in the statistics": _padding_counted,
    "padding in the loss": _padding_scored,
    "padding among the correct": _padding_right,
    "parts of other rows": _parts_of_all_rows,
}
