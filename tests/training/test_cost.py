"""What benchmarks/cost.py says of messages is what a step sends; its times are those of its formulas."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import torch
from shared_steps import COMMON, SPECS, start, taken
from test_parallel_torch import TensorGroup

import resnet_core as rn
import resnet_torch
from benchmark_scripts import loaded
from resnet_core.training.parallel.threads import ThreadGroup, together
from resnet_core.training.parallel.trainer import ShardingTrainer
from resnet_core.training.recipe import Recipe

PLAN = {"learning_rate": 0.05, "drop_last": True, **COMMON}
PLANS = {
    "whole": Recipe(**PLAN),
    "parts": Recipe(accumulate=2, **PLAN),
    "groups": Recipe(statistics_batch=3, **PLAN),
}


@pytest.fixture(scope="module")
def cost() -> ModuleType:
    return loaded("cost")


class Counting(TensorGroup):
    """Counts the bytes that this process gives to gatherings and sums."""

    found: dict[str, list[int]]

    def gathered(self, tensor: torch.Tensor) -> torch.Tensor:
        self.found["gathered"].append(tensor.nbytes)
        return super().gathered(tensor)

    def summed(self, tensor: torch.Tensor) -> torch.Tensor:
        self.found["summed"].append(tensor.nbytes)
        return super().gathered(tensor).sum(0)


def sent(spec: rn.ResNetSpec, recipe: Recipe) -> dict[str, list[int]]:
    """What one of two processes gives in a step."""

    def work(group: ThreadGroup) -> dict[str, list[int]]:
        group.__class__ = Counting
        group.found = {"gathered": [], "summed": []}  # type: ignore[attr-defined]
        own = resnet_torch.ParallelTrainer(spec, recipe, start(spec), dtype="float64", group=group)
        taken(ShardingTrainer(own, group, recipe.accumulate, equal=False), spec, recipe, 1)
        return group.found  # type: ignore[attr-defined,no-any-return]

    return together(2, work)[0]


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
@pytest.mark.parametrize("name", ["batch norm", "group norm", "frozen norm"])
def test_the_messages_of_a_step_are_those_of_the_tree(cost: ModuleType, name: str, plan: Recipe) -> None:
    groups = plan.statistics_batch is not None
    expected = cost.traffic(SPECS[name], parts=plan.accumulate, itemsize=8, groups=groups)
    found = sent(SPECS[name], plan)
    assert sum(found["gathered"]) == expected.gathered_bytes
    assert sum(found["summed"]) == expected.summed_bytes
    assert len(found["gathered"]) + len(found["summed"]) == expected.exchanges - 1  # the question is the run loop's
    # A norm that is forgotten, or another number for each channel, would be seen.
    assert bool(expected.channels) == (name == "batch norm")
    other = cost.traffic(SPECS[name], parts=plan.accumulate, itemsize=8, groups=not groups)
    assert (other.exchanges == expected.exchanges) == (not expected.channels)


def test_the_numbers_of_known_networks(cost: ModuleType) -> None:
    """Counts that are known: parameters, and the channels of ResNet-50's 53 norms."""
    found = cost.traffic(rn.spec("resnet50"))
    assert (found.parameters, len(found.channels), sum(found.channels)) == (25_557_032, 53, 26_560)
    assert found.exchanges == 108


def test_waiting_is_what_a_simulation_has(cost: ModuleType) -> None:
    """Processes whose parts of a step vary, and that wait for each other after each part."""
    parts, processes, deviation = 9, 8, 0.3
    found = cost.Traffic(parameters=1, channels=(1,) * 3, parts=1)
    assert found.exchanges == 8
    random = np.random.default_rng(0)
    times = random.normal(1.0, deviation / parts**0.5, (20_000, processes, parts))
    waited = times.max(1).sum(1).mean() - parts
    assert cost.waiting_seconds(found, deviation, processes) == pytest.approx(waited, rel=0.1)
    assert cost.waiting_seconds(found, deviation, 2) != pytest.approx(waited, rel=0.1)


def test_times_follow_from_the_messages(cost: ModuleType) -> None:
    found = cost.Traffic(parameters=998, channels=(10,))
    assert (found.summed_bytes, found.gathered_bytes, found.exchanges) == (4 * 1020, 4 * 30, 4)
    network = cost.Network(1e-3, 1e6, near=8, far_latency=1e-4, far_bandwidth=1e5)
    assert cost.sync_seconds(found, network, 1) == 0
    assert cost.sync_seconds(found, network, 2) == pytest.approx(4 * 1e-3 + (4080 + 120) / 1e6)
    assert cost.sync_seconds(found, network, 8) == pytest.approx(4 * 1e-3 + (1.75 * 4080 + 7 * 120) / 1e6)
    far = 4 * (1e-3 + 3 * 1e-4) + (2 * 63 / 64 * 4080 + 63 * 120) / 1e5
    assert cost.sync_seconds(found, network, 64) == pytest.approx(far)
    assert cost.largest_of(1) == pytest.approx(0, abs=1e-9)
    assert cost.largest_of(2) == pytest.approx(np.pi**-0.5)
    assert cost.largest_of(3) == pytest.approx(1.5 * np.pi**-0.5)
    assert cost.waiting_seconds(found, 1e-2, 2) == pytest.approx(2 * 1e-2 * np.pi**-0.5)
    assert cost.efficiency(one=1.0, own=0.5, sync=0.0, processes=2, share=0.5) == pytest.approx(2.0)
