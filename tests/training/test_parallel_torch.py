"""PyTorch in several processes computes what it does in one: by threads where that is enough, and by real processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from parallel_groups import gives_way, met, problems, shared, started
from shared_steps import RECIPES, SPECS, Found, differences, one_process, start, taken, without_gradient

import resnet_core as rn
import resnet_torch
from resnet_core.training.contract import StepInputs
from resnet_core.training.parallel.threads import ThreadGroup, together
from resnet_core.training.parallel.trainer import ShardingTrainer
from resnet_core.workers.parent import Worker
from resnet_torch import parallel

truth = cache(lambda spec, recipe, count: one_process(resnet_torch.Trainer, spec, recipe, count))
zeros = cache(lambda spec: without_gradient(resnet_torch.Trainer, spec))


class TensorGroup(ThreadGroup):
    """`resnet_torch.parallel.Processes` as threads."""

    def gathered(self, tensor: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(np.stack(self.gather(tensor.detach().numpy())))

    def summed(self, tensor: torch.Tensor) -> torch.Tensor:
        return self.gathered(tensor).sum(0)


def wrong(processes: int, spec: rn.ResNetSpec, recipe: Any, count: int, *, equal: bool = False) -> dict[str, float]:
    """What threads have after so many steps that one process has not."""

    def work(group: ThreadGroup) -> Found:
        group.__class__ = TensorGroup
        own = resnet_torch.ParallelTrainer(spec, recipe, start(spec), dtype="float64", group=group)
        return taken(ShardingTrainer(own, group, recipe.accumulate, equal=equal), spec, recipe, count)

    return problems(together(processes, work), truth(spec, recipe, count), zeros(spec), count)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """PyTorch's own threads would wait for these."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("recipe", "processes", "equal"),
    [("momentum", 2, False), ("momentum", 3, True), ("adamw", 3, False), ("parts", 2, True), ("parts", 4, False)],
)
def test_a_step_of_several_is_the_step_of_one(recipe: str, processes: int, equal: bool) -> None:
    assert wrong(processes, SPECS["batch norm"], RECIPES[recipe], 1, equal=equal) == {}


@pytest.mark.parametrize("name", ["random", "group norm", "layer norm", "frozen norm"])
def test_other_norms_and_random_layers(name: str) -> None:
    assert wrong(3, SPECS[name], RECIPES["momentum"], 4) == {}


def _local_norms(patch: pytest.MonkeyPatch) -> None:
    """What nn.BatchNorm2d does in each process of DistributedDataParallel."""
    patch.setattr(parallel, "SharedBatchNorm2d", torch.nn.BatchNorm2d)


def _detached_statistics(patch: pytest.MonkeyPatch) -> None:
    """A backward pass that does not ask the others."""
    right = TensorGroup.summed
    patch.setattr(TensorGroup, "summed", lambda self, x: self.processes * x if x.shape[0] == 2 else right(self, x))


def _mean_of_means(patch: pytest.MonkeyPatch) -> None:
    right = parallel.ParallelTrainer._score

    def score(self: Any, logits: torch.Tensor, part: StepInputs) -> Any:
        loss, correct = right(self, logits, part)
        return loss * self.shared.images / len(logits) / self.group.processes, correct

    patch.setattr(parallel.ParallelTrainer, "_score", score)


def _not_reduced(patch: pytest.MonkeyPatch) -> None:
    right = parallel.ParallelTrainer._reduced

    def reduced(self: Any, *given: Any) -> Any:
        bias = self.model.get_parameter("stage1.block1.norm1.bias")
        own = bias.grad.clone()
        found = right(self, *given)
        bias.grad = own
        return found

    patch.setattr(parallel.ParallelTrainer, "_reduced", reduced)


def _local_count(patch: pytest.MonkeyPatch) -> None:
    right = parallel.SharedBatchNorm2d.forward

    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        before = self.running_var.clone()
        output = right(self, x)
        own, whole = x[:, 0].numel(), self.shared.images * x[0, 0].numel()
        kept = before * (1 - self.momentum)
        self.running_var.copy_(kept + (self.running_var - kept) * (own / (own - 1)) / (whole / (whole - 1)))
        return output

    patch.setattr(parallel.SharedBatchNorm2d, "forward", forward)


def _padding_counted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(parallel.Shared, "counted", lambda self, x: x)


#: {defect: (how it is planted, whether shards are filled up, what differs at least)}.
DEFECTS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], bool, str]] = {
    "statistics per rank": (_local_norms, False, "weight.stem.norm.running_mean"),
    "gradients of the statistics per rank": (_detached_statistics, False, "weight.stem.conv.weight"),
    "a mean of means": (_mean_of_means, False, "loss"),
    "a gradient that is not reduced": (_not_reduced, False, "weight.stage1.block1.norm1.bias"),
    "the running variance by the local count": (_local_count, False, "weight.stem.norm.running_var"),
    "padding in the statistics": (_padding_counted, True, "weight.stem.norm.running_mean"),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_planted_defect_is_caught(defect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, equal, seen = DEFECTS[defect]
    plant(monkeypatch)
    caught = wrong(2, SPECS["batch norm"], RECIPES["momentum"], 2, equal=equal)
    assert seen in caught
    if "local count" in defect:
        assert all(name.endswith("running_var") for name in caught)


def test_the_model_is_an_ordinary_one_to_whoever_saves_it(tmp_path: Path) -> None:
    """Its norms are nn.BatchNorm2d in all that is saved: names, values, and the state that a run keeps."""
    spec, recipe = SPECS["batch norm"], RECIPES["momentum"]

    def work(group: ThreadGroup) -> Any:
        group.__class__ = TensorGroup
        return resnet_torch.ParallelTrainer(spec, recipe, start(spec), dtype="float64", group=group).model

    (model,) = together(1, work)
    plain = resnet_torch.build(spec, weights=start(spec).weights, dtype="float64")
    assert all(isinstance(module, torch.nn.BatchNorm2d) for name, module in model.named_modules() if "norm" in name)
    plain.load_state_dict(model.state_dict(), strict=True)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    assert list(torch.load(tmp_path / "model.pt")) == list(plain.state_dict())


@pytest.fixture(scope="module")
def workers() -> Iterator[list[Worker]]:
    with started("torch", 3) as found:
        yield found


@pytest.mark.parametrize(
    ("processes", "recipe", "count"),
    [
        (2, "momentum", 20),
        (3, "adamw", 4),
        pytest.param(2, "adamw", 20, marks=pytest.mark.long),
        pytest.param(3, "momentum", 20, marks=pytest.mark.long),
    ],
)
def test_real_processes(workers: list[Worker], processes: int, recipe: str, count: int) -> None:
    """By gloo, and twice to the same bits; in float32, one step is within what its rounding makes."""
    spec, plan = SPECS["batch norm"], RECIPES[recipe]
    group = met(workers, processes)
    assert all(map(gives_way, group))
    every = shared(group, "batch norm", recipe, count)
    assert problems(every, truth(spec, plan, count), zeros(spec), count) == {}
    first, again = (shared(group, "batch norm", recipe, 3)[0] for _ in range(2))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    rounded = shared(group, "batch norm", recipe, 1, "float32")[0]
    assert differences(rounded, truth(spec, plan, 1), 1e-5, zeros(spec)) == {}
