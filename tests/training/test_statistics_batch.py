"""Norms that take groups of a batch by themselves: what they compute, in one process and in several, and mistakes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch
from shared_steps import (
    COMMON,
    SPECS,
    Found,
    differences,
    exchanges,
    one_process,
    start,
    taken,
    without_gradient,
)
from test_parallel_torch import TensorGroup

import resnet_core as rn
import resnet_numpy
import resnet_torch
from resnet_core.errors import RecipeError
from resnet_core.training.parallel import shards
from resnet_core.training.parallel.group import total
from resnet_core.training.parallel.shards import require_whole_groups
from resnet_core.training.parallel.threads import ThreadGroup, together
from resnet_core.training.parallel.trainer import ShardingTrainer
from resnet_core.training.recipe import Recipe
from resnet_core.training.running_variance import group_weights, learned_together
from resnet_numpy import lowering, parallel

SPEC = SPECS["batch norm"]
ROWS = 12
PLAN: dict[str, Any] = {
    "learning_rate": 0.05,
    "momentum": 0.9,
    "label_smoothing": 0.1,
    **COMMON,
    "batch_size": ROWS,
    "drop_last": True,
}
#: Groups of two; of three, of which an accumulated part has two; with frozen norms, and a clipped step.
RECIPES = {
    "groups": Recipe(statistics_batch=2, **PLAN),
    "groups of parts": Recipe(statistics_batch=3, accumulate=2, freeze=("stem",), clip_norm=1.0, **PLAN),
}
#: The same by definition: every group goes through the network alone.
ONE_BY_ONE = {
    "groups": Recipe(accumulate=6, **PLAN),
    "groups of parts": Recipe(accumulate=4, freeze=("stem",), clip_norm=1.0, **PLAN),
}
WHOLE = Recipe(**PLAN)
ONE_STEP, TWENTY_STEPS = 1e-12, 1e-10

truth = cache(lambda name, count: one_process(resnet_numpy.Trainer, SPEC, ONE_BY_ONE[name], count))
zeros = cache(lambda: without_gradient(resnet_numpy.Trainer, SPEC))


def wrong(found: Found, name: str, count: int) -> dict[str, float]:
    """What differs from groups that go through the network one by one."""
    return differences(found, truth(name, count), ONE_STEP if count == 1 else TWENTY_STEPS, zeros())


def grouped(name: str, count: int) -> Found:
    return one_process(resnet_numpy.Trainer, SPEC, RECIPES[name], count)


def shared(backend: Any, processes: int, name: str, count: int) -> list[Found]:
    """What each of so many processes, which are threads, has after the steps."""
    recipe = RECIPES[name]

    def work(group: ThreadGroup) -> Found:
        group.__class__ = TensorGroup
        own = backend.ParallelTrainer(SPEC, recipe, start(SPEC), dtype="float64", group=group)
        return taken(ShardingTrainer(own, group, recipe.accumulate, equal=own.equal), SPEC, recipe, count)

    return together(processes, work)


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    """PyTorch's own threads would wait for those of the tests."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [1, 20])
@pytest.mark.parametrize("name", RECIPES)
def test_groups_are_parts_that_go_through_together(name: str, count: int) -> None:
    """The definition, in the reference: loss, weights, statistics and slots; and the whole batch is something else."""
    assert wrong(grouped(name, count), name, count) == {}
    whole = wrong(one_process(resnet_numpy.Trainer, SPEC, WHOLE, count), name, count)
    assert {"loss", "weight.stage2.block1.norm1.running_var", "weight.stem.conv.weight"} <= set(whole)


def test_accumulating_changes_nothing_then() -> None:
    """With whole batches as statistics it changes all; with groups it is a matter of memory."""

    def run(**changes: Any) -> Found:
        return one_process(resnet_numpy.Trainer, SPEC, Recipe(**{**PLAN, **changes}), 4)

    once = run(statistics_batch=2)
    for parts in (2, 3):
        assert differences(run(statistics_batch=2, accumulate=parts), once, TWENTY_STEPS) == {}
    assert differences(run(accumulate=2), once, 1e-3)


def test_the_backward_pass_is_that_of_the_forward_pass() -> None:
    """Along a direction of every parameter and of the images, by central differences."""
    model = resnet_numpy.build(SPEC, weights=start(SPEC).weights, dtype="float64")
    rng, step = np.random.default_rng(5), 1e-6
    images = rng.standard_normal((6, 16, 13, 3))
    logits, pullback, context = model.differentiate(images, rows=2)
    cotangent = rng.standard_normal(logits.shape)
    d_images = pullback(cotangent)

    def slope(change: Callable[[float], np.ndarray]) -> float:
        values = [(model.differentiate(change(own), rows=2)[0] * cotangent).sum() for own in (step, -step)]
        return float((values[0] - values[1]) / (2 * step))

    direction = rng.standard_normal(images.shape)
    assert slope(lambda own: images + own * direction) == pytest.approx((d_images * direction).sum(), rel=1e-6)
    largest = max(np.abs(gradient).max() for gradient in context.gradients.values())
    for name, gradient in context.gradients.items():
        before, direction = model.weights[name], rng.standard_normal(gradient.shape)

        def moved(own: float, name: str = name, before: Any = before, direction: Any = direction) -> np.ndarray:
            model.weights[name] = before + own * direction
            return images

        expected = (gradient * direction).sum()
        assert slope(moved) == pytest.approx(expected, rel=1e-6, abs=1e-6 * largest), name
        model.weights[name] = before


def test_what_a_running_statistic_learns() -> None:
    """One group after another, as the formula of docs/training.md has it; and so put together from two processes."""
    decay, old, groups = 0.9, 3.0, np.array([1.0, -2.0, 4.0, 0.5])
    expected = old
    for own in groups:
        expected = decay * expected + (1 - decay) * own
    assert decay**4 * old + group_weights(decay, 4) @ groups == pytest.approx(expected, rel=1e-14)

    def work(group: ThreadGroup) -> float:
        mine = decay**2 * old + group_weights(decay, 2) @ groups[2 * group.rank : 2 * group.rank + 2]
        given = np.array(old), mine, decay, 4, group.rank, 2, partial(total, group)
        return float(learned_together(*given))

    assert together(2, work) == pytest.approx([expected] * 2, rel=1e-14)


def _other_rows(patch: pytest.MonkeyPatch) -> None:
    """Groups of every second image, not of neighbors."""
    right = lowering._batch_norms

    def norms(node: Any, x: np.ndarray, path: str, context: Any) -> Any:
        order = np.arange(len(x)).reshape(-1, 2).T.ravel()
        back = np.argsort(order)
        y, pullback = right(node, x[order], path, context)
        return y[back], lambda dy: pullback(dy[order])[back]

    patch.setattr(lowering, "_batch_norms", norms)


def _whole_batch(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lowering, "_batch_norms", lambda *given: lowering._batch_norm(*given))


def _count_of_the_batch(patch: pytest.MonkeyPatch) -> None:
    """The running variance is unbiased by the values of all groups."""
    right = lowering._batch_norm

    def batch_norm(node: Any, x: np.ndarray, path: str, context: Any) -> Any:
        name = f"{path}.running_var"
        kept = node.decay * context.statistics.get(name, context.weights[name])
        found = right(node, x, path, context)
        if name in context.statistics:
            own = x.size // x.shape[-1]
            whole = own * ROWS // len(x)
            factor = whole / (whole - 1) / (own / (own - 1))
            context.statistics[name] = kept + (context.statistics[name] - kept) * factor
        return found

    patch.setattr(lowering, "_batch_norm", batch_norm)


def _last_group_alone(patch: pytest.MonkeyPatch) -> None:
    """Every group's running statistics begin at the step's."""
    right = lowering._batch_norm

    def batch_norm(node: Any, x: np.ndarray, path: str, context: Any) -> Any:
        for name in ("running_mean", "running_var"):
            context.statistics.pop(f"{path}.{name}", None)
        return right(node, x, path, context)

    patch.setattr(lowering, "_batch_norm", batch_norm)


#: {defect: (how it is planted, what differs at least)}.
DEFECTS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], str]] = {
    "groups of other rows": (_other_rows, "loss"),
    "statistics of the whole batch": (_whole_batch, "loss"),
    "the running variance by the count of all groups": (_count_of_the_batch, "weight.stem.norm.running_var"),
    "only the last group is learned from": (_last_group_alone, "weight.stem.norm.running_mean"),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_planted_defect_is_caught(defect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, seen = DEFECTS[defect]
    plant(monkeypatch)
    caught = wrong(grouped("groups", 1), "groups", 1)
    assert seen in caught
    if "running variance" in defect:
        assert all(name.endswith("running_var") for name in caught)


@pytest.mark.parametrize(("name", "processes"), [("groups", 2), ("groups", 3), ("groups of parts", 2)])
@pytest.mark.parametrize("backend", [resnet_numpy.parallel, resnet_torch], ids=["numpy", "torch"])
def test_several_processes_leave_what_one_does(backend: Any, name: str, processes: int) -> None:
    """The same bits in all of them, and the groups one by one of the reference."""
    every = shared(backend, processes, name, 20)
    assert all(np.array_equal(own[key], every[0][key]) for own in every[1:] for key in own)
    assert wrong(every[0], name, 20) == {}
    assert wrong(shared(backend, processes, name, 1)[0], name, 1) == {}


def test_no_norm_asks_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a step of PyTorch's: once for the running statistics, once for gradients and loss."""
    asked = exchanges(monkeypatch)
    shared(resnet_torch, 2, "groups", 1)
    assert asked.count(0) == 2


def _own_statistics(patch: pytest.MonkeyPatch) -> None:
    """Rank 0's are kept: what PyTorch's DistributedDataParallel does."""
    patch.setattr(parallel, "learned_together", lambda old, new, d, n, rank, processes, all_: all_(new * (rank == 0)))


def _ranks_backward(patch: pytest.MonkeyPatch) -> None:
    right = learned_together
    patch.setattr(
        parallel, "learned_together", lambda old, new, d, n, rank, *rest: right(old, new, d, n, 1 - rank, *rest)
    )


def _straddling(patch: pytest.MonkeyPatch) -> None:
    """Every second row: no process has a whole group."""
    patch.setattr(shards, "rows", lambda count, rank, processes: np.arange(rank, count, processes))


@pytest.mark.parametrize(
    ("plant", "seen"),
    [(_own_statistics, "running"), (_ranks_backward, "running"), (_straddling, "loss")],
    ids=["statistics of rank 0", "ranks in the wrong order", "groups that straddle ranks"],
)
def test_a_planted_defect_of_several_is_caught(plant: Any, seen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    caught = wrong(shared(parallel, 2, "groups", 1)[0], "groups", 1)
    assert caught
    assert all(seen in name for name in caught) if seen == "running" else seen in caught


@pytest.mark.parametrize("processes", [4, 5])
def test_groups_that_processes_cannot_share_are_refused(processes: int) -> None:
    received = f"^statistics_batch: received 2, which makes 6 groups at a time, for {processes} processes"
    with pytest.raises(RecipeError, match=received):
        require_whole_groups(RECIPES["groups"], processes, "torch", grouped=True)
    require_whole_groups(RECIPES["groups"], 3, "torch", grouped=True)
    require_whole_groups(WHOLE, processes, "flax", grouped=False)
    with pytest.raises(RecipeError, match="in which backend flax takes the statistics of all pictures; use one"):
        require_whole_groups(RECIPES["groups"], 3, "flax", grouped=False)


@pytest.mark.parametrize("name", ["group norm", "layer norm", "frozen norm"])
def test_networks_without_batch_statistics_do_not_change(name: str) -> None:
    """Accumulating is then the whole batch, exactly: in a step, within rounding; so are groups."""
    whole = one_process(resnet_numpy.Trainer, SPECS[name], WHOLE, 20)
    for changes in ({"accumulate": 4}, {"statistics_batch": 3}, {"accumulate": 2, "statistics_batch": 3}):
        found = one_process(resnet_numpy.Trainer, SPECS[name], Recipe(**{**PLAN, **changes}), 20)
        assert differences(found, whole, TWENTY_STEPS) == {}


def test_accumulating_differs_by_batch_statistics_alone() -> None:
    """With batch norms it is another run; frozen, they are constants, and it is the same one."""
    whole = one_process(resnet_numpy.Trainer, SPEC, WHOLE, 4)
    parts = Recipe(accumulate=4, **PLAN)
    assert differences(one_process(resnet_numpy.Trainer, SPEC, parts, 4), whole, 1e-3).keys() >= {"loss"}
    norms = tuple(name.removesuffix(".running_var") for name in rn.state(SPEC) if name.endswith(".running_var"))
    frozen = [Recipe(freeze=norms, accumulate=count, **PLAN) for count in (1, 4)]
    one, other = (one_process(resnet_numpy.Trainer, SPEC, recipe, 20) for recipe in frozen)
    assert differences(other, one, TWENTY_STEPS) == {}
