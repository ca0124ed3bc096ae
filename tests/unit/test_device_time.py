"""Timing what computes behind the process: what is not waited for has a time that is wrong, and is found out."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from resnet_core.benchmark.machine import machine
from resnet_core.benchmark.timing import LATER_SECONDS, DeviceTime, device_seconds, not_waited
from resnet_core.resident import Resident

COMPUTING = 0.03


class Device:
    """Computes what it is told in its turn, in a thread of its own; its clock is late by an hour."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.names = iter(("first", "last"))
        self.queue = ThreadPoolExecutor(max_workers=1)

    def compute(self) -> Future[int]:
        self.told.append("compute")
        return self.queue.submit(lambda: time.sleep(COMPUTING) or 7)

    def event(self) -> Any:
        return Mark(self, next(self.names))


class Mark:
    def __init__(self, device: Device, name: str) -> None:
        self.device, self.name = device, name

    def record(self) -> None:
        self.device.told.append(f"record {self.name}")
        self.reached = self.device.queue.submit(lambda: time.perf_counter() - 3600)

    def synchronize(self) -> None:
        self.device.told.append(f"synchronize {self.name}")
        self.reached.result()

    def elapsed_time(self, end: Mark) -> float:
        assert end.reached.done(), "the second mark was not waited for"
        return 1000 * (end.reached.result() - self.reached.result())


@pytest.fixture
def device() -> Iterator[Device]:
    made = Device()
    yield made
    made.queue.shutdown()


def test_what_is_waited_for_has_its_time(device: Device) -> None:
    resident = Resident(device.compute, lambda output: output.result(), lambda output: output.result())
    times = [device_seconds(resident) for _ in range(5)]
    assert {output for _, output in times} == {7}
    assert all(COMPUTING <= taken.computed <= taken.here for taken, _ in times)
    assert not_waited([taken for taken, _ in times]) is None


def test_what_is_not_waited_for_is_found_out(device: Device) -> None:
    """The planted lie: the time of telling the device. It is wrong by all of what was computed."""
    resident = Resident(device.compute, lambda output: None, lambda output: output.result())
    times = [device_seconds(resident)[0] for _ in range(5)]
    assert all(taken.computed < COMPUTING / 3 for taken in times)
    assert all(taken.here >= COMPUTING for taken in times)
    assert "it was not waited for" in str(not_waited(times))


def test_a_devices_own_clock_is_read_between_two_marks_around_the_computation(device: Device) -> None:
    resident = Resident(
        device.compute,
        lambda output: pytest.fail("the events are waited for"),
        lambda output: output.result(),
        device.event,
    )
    taken, output = device_seconds(resident)
    assert device.told == ["record first", "compute", "record last", "synchronize last"]
    assert output == 7
    assert COMPUTING <= taken.computed <= taken.here
    assert not_waited([taken]) is None


def test_the_fetching_is_in_no_time_and_slow_fetching_of_little_is_no_lie(device: Device) -> None:
    copying = LATER_SECONDS / 2

    def fetch(output: Future[int]) -> int:
        time.sleep(copying)
        return output.result()

    taken, _ = device_seconds(Resident(device.compute, lambda output: output.result(), fetch))
    assert taken.here - taken.computed >= copying
    assert not_waited([DeviceTime(1e-4, 1e-4 + LATER_SECONDS), DeviceTime(1.0, 1.24)]) is None


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
