"""Timing what computes behind the process: what is not waited for has a time that is wrong, and is found out."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from resnet_core.benchmark import timing
from resnet_core.benchmark.machine import machine
from resnet_core.benchmark.timing import COPIED, LATER_SECONDS, DeviceTime, device_seconds, not_waited
from resnet_core.resident import Resident

COMPUTING = 0.03


@dataclass
class Job:
    """Something that the device was told, and when it had done that."""

    seconds: float
    done: float | None = None


class Device:
    """Computes what it is told in its turn, as late as it may: when it is waited for. Nothing else takes any time.

    So no time here depends on how busy the machine is.
    """

    def __init__(self) -> None:
        self.now = 0.0  # by the process' clock; its own is late by an hour
        self.told: list[str] = []
        self.names = iter(("first", "last"))
        self.queue: list[Job] = []

    def compute(self) -> Job:
        self.told.append("compute")
        return self.tell(COMPUTING)

    def event(self) -> Any:
        return Mark(self, next(self.names))

    def tell(self, seconds: float) -> Job:
        self.queue.append(job := Job(seconds))
        return job

    def wait(self, job: Job) -> None:
        while job.done is None:
            next_one = self.queue.pop(0)
            self.now += next_one.seconds
            next_one.done = self.now

    def fetch(self, job: Job) -> int:
        self.wait(job)
        return 7


class Mark:
    def __init__(self, device: Device, name: str) -> None:
        self.device, self.name = device, name

    def record(self) -> None:
        self.device.told.append(f"record {self.name}")
        self.reached = self.device.tell(0.0)

    def synchronize(self) -> None:
        self.device.told.append(f"synchronize {self.name}")
        self.device.wait(self.reached)

    def elapsed_time(self, end: Mark) -> float:
        assert end.reached.done is not None, "the second mark was not waited for"
        assert self.reached.done is not None
        return 1000 * ((end.reached.done - 3600) - (self.reached.done - 3600))


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    made = Device()
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: made.now))
    return made


def test_what_is_waited_for_has_its_time(device: Device) -> None:
    times = [device_seconds(Resident(device.compute, device.wait, device.fetch)) for _ in range(5)]
    assert {output for _, output in times} == {7}
    for taken, _ in times:
        assert taken.computed == taken.here == pytest.approx(COMPUTING)
    assert not_waited([taken for taken, _ in times]) is None


def test_what_is_not_waited_for_is_found_out(device: Device) -> None:
    """The planted lie: the time of telling the device. It is wrong by all of what was computed."""
    resident = Resident(device.compute, lambda output: None, device.fetch)
    times = [device_seconds(resident)[0] for _ in range(5)]
    assert [taken.computed for taken in times] == [0] * 5
    assert [taken.here for taken in times] == pytest.approx([COMPUTING] * 5)
    assert "it was not waited for" in str(not_waited(times))


def test_a_devices_own_clock_is_read_between_two_marks_around_the_computation(device: Device) -> None:
    """What the device was told before, such as to take the images, is not in it."""
    device.tell(1.0)
    resident = Resident(
        device.compute, lambda output: pytest.fail("the events are waited for"), device.fetch, device.event
    )
    taken, output = device_seconds(resident)
    assert device.told == ["record first", "compute", "record last", "synchronize last"]
    assert output == 7
    assert taken.computed == pytest.approx(COMPUTING)
    assert taken.here == pytest.approx(1 + COMPUTING)


def test_the_fetching_is_in_no_time_and_slow_fetching_of_little_is_no_lie(device: Device) -> None:
    copying = LATER_SECONDS / 2

    def fetch(output: Job) -> int:
        device.now += copying
        return device.fetch(output)

    taken, _ = device_seconds(Resident(device.compute, device.wait, fetch))
    assert taken.computed == pytest.approx(COMPUTING)
    assert taken.here == pytest.approx(COMPUTING + copying)
    assert not_waited([DeviceTime(1e-4, 1e-4 + LATER_SECONDS), DeviceTime(1.0, 1.24)]) is None


@pytest.mark.parametrize("taps", [False, True])
def test_a_large_output_may_take_its_time_to_be_copied(taps: bool, device: Device) -> None:
    """Of a network without classes: its map of a batch is more than a GPU computes in the time of its copy."""
    array = np.zeros(COPIED // 16, np.int8)
    found, size = ({"a": array, "b": array}, 2 * array.nbytes) if taps else (array, array.nbytes)

    def fetch(output: Job, late: float = 1.0) -> Any:
        device.now += late * size / COPIED
        return found

    honest, _ = device_seconds(Resident(device.compute, device.wait, fetch))
    assert (honest.size, honest.here) == (size, pytest.approx(COMPUTING + size / COPIED))
    assert not_waited([honest]) is None
    lie, _ = device_seconds(Resident(device.compute, device.wait, lambda output: fetch(output, 1.2)))
    assert "it was not waited for" in str(not_waited([lie]))


@pytest.mark.parametrize(("computed", "here", "lie"), [(1e-4, 7e-4, True), (1e-4, 5e-4, False), (1.0, 1.3, True)])
def test_an_output_that_comes_far_later_was_not_there(computed: float, here: float, lie: bool) -> None:
    """By the medians: one late call among many, such as the first, is none."""
    assert (not_waited([DeviceTime(computed, here)] * 3) is not None) == lie
    assert not_waited([DeviceTime(computed, computed)] * 3 + [DeviceTime(computed, 9.0)]) is None


def fake_tool(folder: Path, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "nvidia-smi").write_text(f"#!{sys.executable}\n{program}\n")
    (folder / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def test_the_card_and_its_driver_are_facts_of_a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "NVIDIA H200, 580.65.06, 143771 MiB\\nNVIDIA H200, 580.65.06, 143771 MiB"
    fake_tool(tmp_path, f"print('{said}')", monkeypatch)
    assert machine()["gpu"] == "; ".join(["NVIDIA H200, driver 580.65.06, 143771 MiB"] * 2)


@pytest.mark.parametrize("program", ["raise SystemExit('no driver')", "print('No devices were found')"])
def test_a_driver_that_does_not_answer_is_no_card(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tool(tmp_path, program, monkeypatch)
    assert "gpu" not in machine()
