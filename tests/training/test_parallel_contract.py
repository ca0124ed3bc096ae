"""Several processes compute what one would: the oracle, which is NumPy in threads, and mistakes that it finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from shared_steps import (
    RECIPES,
    SPECS,
    Found,
    differences,
    exchanges,
    one_process,
    start,
    steps,
    taken,
    without_gradient,
)

import resnet_core as rn
import resnet_numpy
from resnet_core.errors import InputError
from resnet_core.training.contract import StepInputs
from resnet_core.training.parallel import shards
from resnet_core.training.parallel import trainer as sharding
from resnet_core.training.parallel.devices import DevicesTrainer
from resnet_core.training.parallel.group import any_of, told
from resnet_core.training.parallel.place import Place
from resnet_core.training.parallel.threads import ThreadGroup, together
from resnet_core.training.parallel.trainer import ShardingTrainer
from resnet_core.weights import Weights
from resnet_numpy import lowering, parallel

ONE_STEP, TWENTY_STEPS = 1e-12, 1e-10

truth = cache(lambda spec, recipe, count: one_process(resnet_numpy.Trainer, spec, recipe, count))
zeros = cache(lambda spec: without_gradient(resnet_numpy.Trainer, spec))


def shared(
    processes: int, spec: rn.ResNetSpec, recipe: Any, count: int, *, equal: bool = False, dtype: str = "float64"
) -> list[Found]:
    """What each of so many processes has after the steps."""

    def work(group: ThreadGroup) -> Found:
        own = parallel.ParallelTrainer(spec, recipe, start(spec), dtype=dtype, group=group)
        return taken(ShardingTrainer(own, group, recipe.accumulate, equal=equal), spec, recipe, count)

    return together(processes, work)


def wrong(processes: int, spec: rn.ResNetSpec, recipe: Any, count: int, *, equal: bool = False) -> dict[str, float]:
    """What any process has that differs from what one process has; and whether all have the same bits."""
    every = shared(processes, spec, recipe, count, equal=equal)
    apart = {name: np.inf for name in every[0] for own in every[1:] if not np.array_equal(own[name], every[0][name])}
    tolerance = ONE_STEP if count == 1 else TWENTY_STEPS
    return apart | differences(every[0], truth(spec, recipe, count), tolerance, zeros(spec))


@pytest.mark.parametrize("equal", [False, True], ids=["own lengths", "equal lengths"])
@pytest.mark.parametrize("processes", [1, 2, 3, 4])
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_step_of_several_is_the_step_of_one(recipe: str, processes: int, equal: bool) -> None:
    assert wrong(processes, SPECS["batch norm"], RECIPES[recipe], 1, equal=equal) == {}


@pytest.mark.parametrize(("processes", "equal"), [(1, False), (2, False), (2, True), (3, True), (4, False)])
@pytest.mark.parametrize("recipe", ["momentum", "adamw"])
def test_twenty_steps_of_several_are_those_of_one(recipe: str, processes: int, equal: bool) -> None:
    """Of batches that the number of processes does not divide, and of fewer images than processes."""
    true = truth(SPECS["batch norm"], RECIPES[recipe], 20)
    assert np.ptp(true["loss"]) > 0.1, "the network must learn"
    assert wrong(processes, SPECS["batch norm"], RECIPES[recipe], 20, equal=equal) == {}


@pytest.mark.parametrize("name", ["random", "group norm", "layer norm", "frozen norm"])
def test_other_norms_and_random_layers(name: str) -> None:
    assert wrong(3, SPECS[name], RECIPES["momentum"], 4) == {}


def test_only_batch_norms_need_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others' statistics are of an image, or constants: a step speaks of losses and gradients alone."""
    asked = exchanges(monkeypatch)
    numbers = {}
    for name in ("group norm", "layer norm", "frozen norm"):
        asked.clear()
        shared(2, SPECS[name], RECIPES["momentum"], 1)
        numbers[name] = len(asked) // 2 - len(rn.parameters(SPECS[name]))
    assert numbers == dict.fromkeys(numbers, 2)


def _statistics_per_rank(patch: pytest.MonkeyPatch) -> None:
    right = parallel.ParallelTrainer._forward

    def alone(self: Any, part: StepInputs) -> Any:
        return right(self, replace(part, whole=None if part.mask is None else int(part.mask.sum())))

    def forward(self: Any, part: StepInputs) -> Any:
        total, self.total = self.total, np.asarray
        try:
            return alone(self, part)
        finally:
            self.total = total

    patch.setattr(parallel.ParallelTrainer, "_forward", forward)


def _mean_of_means(patch: pytest.MonkeyPatch) -> None:
    right = parallel.ParallelTrainer._score

    def score(self: Any, logits: np.ndarray, part: StepInputs) -> Any:
        own = len(logits) if part.mask is None else int(part.mask.sum())
        processes = self.total.args[0].processes
        loss, correct, gradient = right(self, logits, part)
        scale = (part.whole or 0) / max(own, 1) / processes
        return loss * scale, correct, gradient * scale

    patch.setattr(parallel.ParallelTrainer, "_score", score)


def _not_reduced(patch: pytest.MonkeyPatch) -> None:
    right = parallel.ParallelTrainer._reduced

    def reduced(self: Any, loss: float, correct: int, gradients: Weights) -> Any:
        own = {"stage1.block1.norm1.bias": gradients["stage1.block1.norm1.bias"]}
        loss, correct, summed = right(self, loss, correct, gradients)
        return loss, correct, summed | own

    patch.setattr(parallel.ParallelTrainer, "_reduced", reduced)


def _rows_of(wrong: Callable[[int, int, int], np.ndarray]) -> Callable[[pytest.MonkeyPatch], None]:
    def plant(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(shards, "rows", wrong)

    return plant


_right_rows = shards.rows


def _another_order(patch: pytest.MonkeyPatch) -> None:
    right = sharding.shard

    def shard(inputs: StepInputs, rank: int, *rest: Any, **named: Any) -> StepInputs:
        if rank == 1:
            inputs = replace(inputs, images=inputs.images[::-1], targets=inputs.targets[::-1])
        return right(inputs, rank, *rest, **named)

    patch.setattr(sharding, "shard", shard)


def _local_count(patch: pytest.MonkeyPatch) -> None:
    """The running variance is unbiased by what this process sees."""
    right = lowering._batch_norm

    def batch_norm(node: Any, x: np.ndarray, path: str, context: Any) -> Any:
        found = right(node, x, path, context)
        name, own = f"{path}.running_var", x.size // x.shape[-1]
        whole = context.whole * own // len(x)
        kept = node.decay * context.weights[name]
        factor = own / (own - 1) / (whole / (whole - 1))
        context.statistics[name] = kept + (context.statistics[name] - kept) * factor
        return found

    patch.setattr(lowering, "_batch_norm", batch_norm)


def _padding_counted(patch: pytest.MonkeyPatch) -> None:
    """In the statistics, as everywhere without a mask."""
    patch.setattr(lowering.Pass, "counted", lambda self, x: x)


def _padding_scored(patch: pytest.MonkeyPatch) -> None:
    right = parallel.ParallelTrainer._score
    patch.setattr(parallel.ParallelTrainer, "_score", lambda self, x, part: right(self, x, replace(part, mask=None)))


#: {defect: (how it is planted, whether shards are filled up, what differs at least)}.
DEFECTS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], bool, str]] = {
    "statistics per rank": (_statistics_per_rank, False, "weight.stem.norm.running_mean"),
    "a mean of means": (_mean_of_means, False, "loss"),
    "one rank's rows twice": (_rows_of(lambda count, rank, n: _right_rows(count, max(rank, 1), n)), False, "loss"),
    "a gradient that is not reduced": (_not_reduced, False, "weight.stage1.block1.norm1.bias"),
    "another order of rows on one rank": (_another_order, False, "loss"),
    "the running variance by the local count": (_local_count, False, "weight.stem.norm.running_var"),
    "padding in the statistics": (_padding_counted, True, "weight.stem.norm.running_mean"),
    "padding in the loss": (_padding_scored, True, "loss"),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_planted_defect_is_caught(defect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By one step on the second batch, whose five images two processes do not divide."""
    plant, equal, seen = DEFECTS[defect]
    spec, recipe = SPECS["batch norm"], RECIPES["momentum"]
    assert wrong(2, spec, recipe, 2, equal=equal) == {}
    plant(monkeypatch)
    caught = wrong(2, spec, recipe, 2, equal=equal)
    assert seen in caught
    if "local count" in defect:
        assert all(name.endswith("running_var") for name in caught)


def test_every_row_is_in_one_shard() -> None:
    for count in range(1, 12):
        for processes in range(1, 6):
            found = [shards.rows(count, rank, processes) for rank in range(processes)]
            assert np.concatenate(found).tolist() == list(range(count))
            lengths = [len(own) for own in found]
            assert max(lengths) - min(lengths) <= 1
            assert max(lengths) == shards.longest(count, processes)


@pytest.mark.parametrize("equal", [False, True])
def test_a_shard_has_its_rows_of_every_part(equal: bool) -> None:
    inputs = next(steps(SPECS["random"], RECIPES["parts"], 1))
    for processes in (1, 2, 4):
        shares = [shards.shard(inputs, rank, processes, 2, equal=equal) for rank in range(processes)]
        for part, whole in enumerate(inputs.parts(2)):
            own = [list(share.parts(2))[part] for share in shares]
            assert [each.whole for each in own] == [3] * processes
            for name in ("images", "targets"):
                kept = [getattr(each, name)[slice(None) if each.mask is None else each.mask > 0] for each in own]
                assert np.array_equal(np.concatenate(kept), getattr(whole, name))
            assert all(set(each.factors) == set(whole.factors) != set() for each in own)
            if equal:
                assert len({len(each.images) for each in own}) == 1


def test_devices_of_one_process_have_their_rows_of_every_part() -> None:
    """One after the other: cut as if it were one batch, a part would have rows of another."""
    inputs, found = next(steps(SPECS["random"], RECIPES["parts"], 1)), []
    trainer: Any = SimpleNamespace(inputs=frozenset(), step=found.append)
    for devices in (1, 2, 4):
        DevicesTrainer(trainer, devices, 2).step(inputs)
        parts = zip(found[-1].parts(2, devices), found[-1].parts(2), inputs.parts(2), strict=True)
        for part, wrong, whole in parts:
            kept = slice(None) if part.mask is None else part.mask > 0
            assert part.whole == 3
            for name in ("images", "targets"):
                assert np.array_equal(getattr(part, name)[kept], getattr(whole, name))
            assert part.factors.keys() == whole.factors.keys() != set()
            assert all(np.array_equal(given[kept], whole.factors[path]) for path, given in part.factors.items())
            assert (len(wrong.images[kept]) == 3 and np.array_equal(wrong.images[kept], whole.images)) == (devices == 1)


def test_all_predict_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, recipe = SPECS["batch norm"], RECIPES["momentum"]
    alone = resnet_numpy.Trainer(spec, recipe, start(spec), dtype="float64")
    for count in (7, 1):
        images = np.random.default_rng(1).standard_normal((count, 16, 13, 3)).astype(np.float32)

        def work(group: ThreadGroup, images: np.ndarray = images) -> np.ndarray:
            own = parallel.ParallelTrainer(spec, recipe, start(spec), dtype="float64", group=group)
            return ShardingTrainer(own, group, 1, equal=False).predict(images)

        for found in together(3, work):
            assert np.abs(found - alone.predict(images)).max() < 1e-13


def test_what_processes_tell_each_other() -> None:
    assert together(3, lambda group: any_of(group, group.rank == 1)) == [True] * 3
    assert together(3, lambda group: any_of(group, False)) == [False] * 3
    assert together(3, lambda group: told(group, {"rank": group.rank, "name": "ä"})) == [{"rank": 0, "name": "ä"}] * 3


def test_the_error_of_one_ends_all() -> None:
    def work(group: ThreadGroup) -> None:
        if group.rank == 1:
            raise ValueError("one of them")
        group.gather(np.zeros(1))

    with pytest.raises(ValueError, match="one of them"):
        together(3, work)


@pytest.mark.parametrize("rank", [-1, 2, 3])
def test_a_rank_that_is_none(rank: int) -> None:
    with pytest.raises(InputError, match=f"rank: received {rank} of 2 processes"):
        Place(rank, 2)
