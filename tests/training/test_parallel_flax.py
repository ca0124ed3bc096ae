"""Flax in several processes computes what it does in one: over devices of one process, and by real processes."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from parallel_groups import (
    LIMIT,
    ONE_STEP,
    gives_way,
    hold_to_the_truth,
    met,
    predicts_alike,
    problems,
    shared,
    started,
    truth,
    wrong,
)
from shared_steps import differences

from engines import QUICK
from resnet_core.workers.parent import Worker

#: Four devices, of which a group takes some.
ENVIRONMENT = {**QUICK, "XLA_FLAGS": f"{QUICK['XLA_FLAGS']} --xla_force_host_platform_device_count=4"}


@pytest.fixture(scope="module")
def devices() -> Iterator[Worker]:
    """A process with several devices."""
    with started("flax", 1, ENVIRONMENT) as (worker,):
        yield worker


@pytest.fixture(scope="module")
def workers() -> Iterator[list[Worker]]:
    with started("flax", 3, QUICK) as found:
        yield found


@pytest.mark.parametrize(
    ("recipe", "processes"), [("momentum", 2), ("momentum", 4), ("adamw", 3), ("parts", 2), ("parts", 4), ("groups", 2)]
)
def test_a_step_of_several_is_the_step_of_one(devices: Worker, recipe: str, processes: int) -> None:
    assert wrong(devices, processes, "batch norm", recipe) == {}


@pytest.mark.parametrize(
    ("recipe", "processes"),
    [
        pytest.param("momentum", 2, marks=pytest.mark.long),
        pytest.param("momentum", 3, marks=pytest.mark.long),
        pytest.param("adamw", 2, marks=pytest.mark.long),
        pytest.param("adamw", 4, marks=pytest.mark.long),
        pytest.param("parts", 4, marks=pytest.mark.long),
    ],
)
def test_twenty_steps_of_several_are_those_of_one(devices: Worker, recipe: str, processes: int) -> None:
    assert wrong(devices, processes, "batch norm", recipe, 20) == {}


@pytest.mark.parametrize(
    "name",
    ["random", *(pytest.param(f"{kind} norm", marks=pytest.mark.long) for kind in ("group", "layer", "frozen"))],
)
def test_other_norms_and_random_layers(devices: Worker, name: str) -> None:
    assert wrong(devices, 4, name, "momentum") == {}


def test_loops_over_equal_blocks_have_the_same_statistics(devices: Worker) -> None:
    """Filled up, four rows of six in the loop of a compiled step."""
    loops, found = devices.call("parallel_defects_flax:loops", time_limit=LIMIT, processes=4)
    assert loops
    of = {
        kind: {name.removeprefix(f"{kind}."): array for name, array in found.items() if name.startswith(f"{kind}.")}
        for kind in ("found", "true")
    }
    assert differences(of["found"], of["true"], ONE_STEP) == {}


def test_processes_only_add_up(devices: Worker) -> None:
    """XLA finds no reason to move rows from one to another."""
    text, _ = devices.call(
        "parallel_defects_flax:collectives", time_limit=LIMIT, spec="batch norm", recipe="parts", processes=4
    )
    kinds = set(re.findall(r" (all-[a-z]+|reduce-scatter|collective-[a-z]+)(?:-start)?\(", text))
    assert kinds == {"all-reduce"}


#: {defect: what differs at least}; where shards are filled up, and the last of them in parts.
SEEN = {
    "statistics per rank": "weight.stem.norm.running_mean",
    "a mean of means": "loss",
    "a gradient that is not reduced": "weight.stage1.block1.norm1.bias",
    "one rank's rows twice": "loss",
    "another order of rows on one rank": "loss",
    "the running variance by the local count": "weight.stem.norm.running_var",
    "padding in the statistics": "weight.stem.norm.running_mean",
    "padding in the loss": "loss",
    "padding among the correct": "correct",
    "parts of other rows": "weight.stage1.block1.norm1.running_mean",
}


@pytest.mark.parametrize("defect", SEEN)
def test_a_planted_defect_is_caught(devices: Worker, defect: str) -> None:
    """By one step of four on six images, or on two parts of three."""
    recipe = "parts" if "parts" in defect else "momentum"
    caught = wrong(devices, 4, "batch norm", recipe, defect=defect)
    assert SEEN[defect] in caught
    if "local count" in defect:
        assert all(name.endswith("running_var") for name in caught)
    if "correct" in defect:
        assert list(caught) == ["correct"]


def test_two_processes(workers: list[Worker]) -> None:
    """By gloo: two steps, the second on five images, and what they predict."""
    group = met(workers, 2)
    assert all(map(gives_way, group))
    assert (
        problems(shared(group, "batch norm", "momentum", 2), *truth(workers[2], "batch norm", "momentum", 2), 2) == {}
    )
    assert predicts_alike(group)


@pytest.mark.long
@pytest.mark.parametrize(("processes", "recipe"), [(2, "adamw"), (3, "momentum"), (3, "parts"), (2, "groups")])
def test_real_processes(workers: list[Worker], processes: int, recipe: str) -> None:
    hold_to_the_truth(workers, processes, recipe)
