"""Anyone's backend is found without editing the core, and one that misbehaves harms nobody else.

The commands run in processes of their own, on a network so small that a comparison takes a second.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from toys.registry import register

NARROW = [
    "resnet20",
    *("--set", "depths=[1, 1]", "--set", "channels=[2, 3]", "--set", "input_size=9", "--set", "classes=3"),
]


def compare(environment: dict[str, str], *arguments: str) -> tuple[int, dict[str, Any], list[str]]:
    """(exit code, JSON, lines on stderr) of `resnet compare`."""
    command = [sys.executable, "-m", "resnet_core", "compare", *NARROW, "--json", "-", *arguments]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in process.stderr
    return process.returncode, json.loads(process.stdout), process.stderr.splitlines()


def assert_has_numbers(entry: dict[str, Any]) -> None:
    assert "error" not in entry
    assert entry["output_shape"] == [4, 3]
    assert max(entry["max_error"].values()) <= entry["tolerance"]
    assert entry["seconds"]["first"] > 0
    assert entry["peak_memory_bytes"] > 0


def test_a_registered_toy_is_found_and_compared_without_editing_the_core(tmp_path: Path) -> None:
    environment = register(tmp_path, "equal")
    command = [sys.executable, "-c", "import resnet_core as rn; print(*rn.backends())"]
    names = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()
    assert names == ["equal", "flax", "keras", "numpy", "torch"]
    code, result, errors = compare(environment, "--backends", "equal")
    assert (code, errors) == (0, [])
    assert result["equal"] is True
    assert_has_numbers(result["backends"]["equal"])
    assert list(result["backends"]["equal"]["max_error"]) == ["stem", "stage1", "stage2", "logits"]


def test_the_built_in_backends_register_by_the_same_rule() -> None:
    found = {entry.name: entry.value for entry in entry_points(group="resnet_core.backends")}
    assert found == {name: f"resnet_{name}" for name in ("torch", "keras", "flax", "numpy")}


def test_a_toy_works_in_process_as_the_built_in_ones_do(tmp_path: Path) -> None:
    program = """
import numpy as np, resnet_core as rn
spec = rn.spec("resnet20", depths=[1], channels=[2])
ours, theirs = rn.build(spec, backend="numpy", seed=1), rn.build(spec, backend="equal", seed=1)
images = np.ones((2, 9, 8, 3))
print((rn.load_backend("equal").predict(theirs, images) == rn.load_backend("numpy").predict(ours, images)).all())
"""
    environment = register(tmp_path, "equal")
    process = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert process.stdout.strip() == "True"


def test_a_toy_that_prints_does_not_disturb_the_exchange(tmp_path: Path) -> None:
    code, result, _ = compare(register(tmp_path, "noisy"), "--backends", "noisy")
    assert code == 0
    assert_has_numbers(result["backends"]["noisy"])


@pytest.mark.parametrize(
    ("toy", "message"),
    [
        ("crash", "backend crash: package toy_crash cannot be imported: RuntimeError: this toy crashes at import"),
        ("raise", "raise: ValueError: this toy cannot build"),
        ("exit", "exit: its process ended with exit code 3; last words: this toy leaves"),
        ("killed", "killed: its process was killed by SIGKILL (out of memory?); last words: it said nothing"),
    ],
)
def test_a_toy_that_crashes_is_that_backends_failure_alone(toy: str, message: str, tmp_path: Path) -> None:
    code, result, errors = compare(register(tmp_path, toy, "equal"), "--backends", f"{toy},equal")
    assert code == 1
    assert result["equal"] is False
    assert result["backends"][toy]["error"] == message
    assert errors == ["resnet: " + message.replace("\n", " ")]
    assert_has_numbers(result["backends"]["equal"])


def test_a_toy_that_hangs_is_stopped_at_the_time_limit_with_all_it_started(tmp_path: Path) -> None:
    child = tmp_path / "child"
    environment = {**register(tmp_path, "hang", "equal"), "TOY_HANG_CHILD": str(child)}
    start = time.monotonic()
    code, result, errors = compare(environment, "--backends", "hang,equal", "--time-limit", "5")
    assert time.monotonic() - start < 60
    assert code == 1
    assert result["backends"]["hang"]["error"] == "hang: no answer within 5 s; its process was stopped"
    assert errors == ["resnet: hang: no answer within 5 s; its process was stopped"]
    assert_has_numbers(result["backends"]["equal"])
    assert has_ended(int(child.read_text()))


def test_an_interpreter_that_cannot_be_started_is_that_backends_failure(tmp_path: Path) -> None:
    environment = register(tmp_path, "crash", "equal")
    code, result, errors = compare(environment, "--backends", "crash,equal", "--python", "crash=/nowhere/python")
    assert code == 2
    assert result["backends"]["crash"]["bad_input"]
    assert len(errors) == 1
    assert "/nowhere/python cannot be started" in errors[0]
    assert_has_numbers(result["backends"]["equal"])


def has_ended(process: int) -> bool:
    """Whether a process has ended (one that has, and that nobody has asked for its code yet, counts)."""
    for _ in range(50):
        try:
            os.kill(process, 0)
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.1)
    return False


def test_a_toy_with_wrong_numbers_is_unequal_and_says_where(tmp_path: Path) -> None:
    code, result, errors = compare(register(tmp_path, "wrong", "equal"), "--backends", "wrong,equal")
    assert code == 1
    assert result["equal"] is False
    for error in result["backends"]["wrong"]["max_error"].values():
        assert error == pytest.approx(1e-3, rel=1e-3)
    assert errors
    assert all(line.startswith("resnet: wrong: ") for line in errors)
    assert_has_numbers(result["backends"]["equal"])


def test_a_toy_that_learns_wrongly_is_caught_at_the_level_where_it_shows(tmp_path: Path) -> None:
    environment = register(tmp_path, "careless", "equal")
    caught = {}
    for level in ("logits", "gradients", "training"):
        code, result, _ = compare(environment, "--backends", "careless,equal", "--level", level)
        entry = result["backends"]["careless"]
        caught[level] = {key for key, error in entry["max_error"].items() if error > entry["tolerances"][key]}
        assert result["equal"] is (code == 0) is (not caught[level])
        assert result["backends"]["equal"]["equal"] is True
    # The second step already starts elsewhere: its loss and what the norms see of the images differ too.
    deep = {"gradients", "loss", "weights", "statistics"}
    assert caught == {"logits": set(), "gradients": {"gradients"}, "training": deep}


@pytest.mark.parametrize("level", ["gradients", "training"])
def test_a_toy_that_cannot_differentiate_is_one_line_at_the_levels_that_ask_for_it(level: str, tmp_path: Path) -> None:
    code, result, errors = compare(register(tmp_path, "forward"), "--backends", "forward", "--level", level)
    assert code == 2
    assert result["equal"] is False
    assert errors == ["resnet: forward: package toy_forward has no gradients, which is optional, and needed here"]


@pytest.mark.parametrize("level", ["shapes", "logits"])
def test_a_toy_with_a_wrong_name_is_unequal_at_every_level(level: str, tmp_path: Path) -> None:
    code, result, _ = compare(register(tmp_path, "misnamed"), "--backends", "misnamed", "--level", level)
    assert code == 1
    assert result["equal"] is False
    assert any("head.fc.weight" in line for line in result["backends"]["misnamed"]["shape_errors"])


@pytest.mark.parametrize(
    ("toy", "message"),
    [
        ("reordered", "backend reordered: received predict(images, model); expected predict(model, images)"),
        ("outdated", "backend outdated: package toy_outdated keeps version 0 of the interface; this is 1"),
    ],
)
def test_a_toy_that_does_not_keep_the_contract_is_that_backends_failure(toy: str, message: str, tmp_path: Path) -> None:
    code, result, errors = compare(register(tmp_path, toy, "equal"), "--backends", f"{toy},equal")
    assert code == 1
    assert result["backends"][toy]["error"] == message
    assert errors == [f"resnet: {message}"]
    assert_has_numbers(result["backends"]["equal"])


def test_a_toy_that_lacks_a_verb_is_a_failure(tmp_path: Path) -> None:
    code, result, errors = compare(register(tmp_path, "lacking", "equal"), "--backends", "lacking,equal")
    assert code == 1
    assert result["backends"]["lacking"]["error"].endswith("package toy_lacking lacks set_weights")
    assert len(errors) == 1
    assert_has_numbers(result["backends"]["equal"])


def test_a_toy_without_its_framework_is_missing_with_its_own_pip_line(tmp_path: Path) -> None:
    code, result, errors = compare(register(tmp_path, "missing", "equal"), "--backends", "missing,equal")
    line = (
        'backend missing needs a-framework-that-nobody-has, which is not installed: pip install "toy-missing[missing]"'
    )
    assert code == 2
    assert result["backends"]["missing"] == {"error": line, "missing": True}
    assert errors == [f"resnet: {line}"]
    assert_has_numbers(result["backends"]["equal"])


@pytest.mark.parametrize("asked", [("--backends", "renamed,equal"), ()])
def test_a_toy_with_a_broken_import_fails_and_is_not_taken_for_missing(asked: tuple[str, ...], tmp_path: Path) -> None:
    """Also where nobody asked for it by name: what is not compared must not be called equal."""
    environment = register(tmp_path, "renamed", "equal")
    code, result, errors = compare(environment, *asked)
    entry = result["backends"]["renamed"]
    assert code == 1
    assert result["equal"] is False
    assert "cannot import name 'resolve_padding'" in entry["error"]
    assert "missing" not in entry
    assert any("resolve_padding" in line for line in errors)
    assert_has_numbers(result["backends"]["equal"])


def test_two_packages_of_one_name_are_bad_input(tmp_path: Path) -> None:
    environment = register(tmp_path, "equal", "wrong")
    (tmp_path / "toy_wrong-0.1.dist-info" / "entry_points.txt").write_text(
        "[resnet_core.backends]\nequal = toy_wrong\n"
    )
    code, result, _ = compare(environment, "--backends", "equal")
    assert code == 2
    error = result["backends"]["equal"]["error"]
    assert "two packages register 'equal'" in error
    assert "toy_equal" in error
    assert "toy_wrong" in error


def test_several_misbehaving_toys_are_each_reported(tmp_path: Path) -> None:
    toys = ("crash", "equal", "exit", "killed", "wrong")
    code, result, errors = compare(register(tmp_path, *toys), "--backends", ",".join(toys))
    assert code == 1
    assert list(result["backends"]) == list(toys)
    assert {name for name, entry in result["backends"].items() if "error" in entry} == {"crash", "exit", "killed"}
    named = {line.split(":")[1].strip().removeprefix("backend ") for line in errors}
    assert named == {"crash", "exit", "killed", "wrong"}
    assert_has_numbers(result["backends"]["equal"])
