"""Keras on JAX in several processes computes what it does in one: over devices of a process, and by real processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from parallel_groups import gives_way, hold_to_the_truth, met, predicts_alike, problems, shared, started, truth, wrong

from engines import QUICK
from resnet_core.workers.parent import Worker

ENVIRONMENT = {**QUICK, "KERAS_BACKEND": "jax"}
#: Four devices, of which a group takes some.
DEVICES = {**ENVIRONMENT, "XLA_FLAGS": f"{QUICK['XLA_FLAGS']} --xla_force_host_platform_device_count=4"}


@pytest.fixture(scope="module")
def devices() -> Iterator[Worker]:
    """A process with several devices."""
    with started("keras", 1, DEVICES) as (worker,):
        yield worker


@pytest.fixture(scope="module")
def workers() -> Iterator[list[Worker]]:
    with started("keras", 3, ENVIRONMENT) as found:
        yield found


@pytest.mark.parametrize(
    ("recipe", "processes"),
    [
        ("momentum", 4),
        ("adamw", 2),
        pytest.param("adamw", 3, marks=pytest.mark.long),
        ("parts", 2),
        pytest.param("parts", 4, marks=pytest.mark.long),
        pytest.param("groups", 2, marks=pytest.mark.long),
    ],
)
def test_a_step_of_several_is_the_step_of_one(devices: Worker, recipe: str, processes: int) -> None:
    assert wrong(devices, processes, "batch norm", recipe) == {}


@pytest.mark.long
@pytest.mark.parametrize("name", ["random", "group norm", "layer norm", "frozen norm"])
def test_other_norms_and_random_layers(devices: Worker, name: str) -> None:
    assert wrong(devices, 4, name, "momentum") == {}


#: {defect: what differs at least}.
SEEN = {
    "statistics per rank": "weight.stem.norm.running_mean",
    "a mean of means": "loss",
    "one rank's rows twice": "loss",
    "another order of rows on one rank": "loss",
    "the running variance by the local count": "weight.stem.norm.running_var",
    "padding in the statistics": "weight.stem.norm.running_mean",
    "padding in the loss": "loss",
    "padding among the correct": "correct",
}


@pytest.mark.parametrize("defect", SEEN)
def test_a_planted_defect_is_caught(devices: Worker, defect: str) -> None:
    """By one step of four on six images."""
    caught = wrong(devices, 4, "batch norm", "momentum", defect=defect)
    assert SEEN[defect] in caught
    if "local count" in defect:
        assert all(name.endswith("running_var") for name in caught)
    if "correct" in defect:
        assert list(caught) == ["correct"]


def test_two_processes(workers: list[Worker]) -> None:
    """By gloo: a step in two parts, of which the processes have one image or two, and what they predict."""
    group = met(workers, 2)
    assert all(map(gives_way, group))
    assert problems(shared(group, "batch norm", "parts", 1), *truth(workers[2], "batch norm", "parts", 1), 1) == {}
    assert predicts_alike(group)


@pytest.mark.long
@pytest.mark.parametrize(("processes", "recipe"), [(2, "adamw"), (3, "momentum"), (3, "parts"), (2, "groups")])
def test_real_processes(workers: list[Worker], processes: int, recipe: str) -> None:
    hold_to_the_truth(workers, processes, recipe)
