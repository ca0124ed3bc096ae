"""The kit is complete, and it can fail: every broken backend is found, in the check that should find it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from resnet_core import tree
from resnet_core.conformance.check import CHECKS, Context, Violation
from resnet_core.conformance.defects import DEFECTS, UNPLANTED
from resnet_core.conformance.kit import GROUPS
from resnet_core.conformance.leaves import LEAVES, without_a_case
from toys.packages import toy_broken
from toys.registry import register


def conform(environment: dict[str, str], *arguments: str) -> tuple[int, dict[str, Any], list[str]]:
    """(exit code, JSON, lines on stderr) of `resnet conformance`."""
    command = [sys.executable, "-m", "resnet_core", "conformance", *arguments, "--json", "-"]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert "Traceback" not in process.stderr
    return process.returncode, json.loads(process.stdout or "{}"), process.stderr.splitlines()


def only(*groups: str) -> list[str]:
    return [argument for group in groups for argument in ("--group", group)]


def failed(report: dict[str, Any]) -> set[str]:
    return {result["name"] for result in report["results"] if result["status"] == "failed"}


def test_every_leaf_and_combinator_has_a_case() -> None:
    assert without_a_case() == set()


def test_a_leaf_without_a_case_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "Squeeze", type("Squeeze", (tree.Leaf,), {}), raising=False)
    assert without_a_case() == {"Squeeze"}
    with pytest.raises(Violation, match="no case for"):
        CHECKS["every kind of layer has a case"](Context(None, "float32"), "")


def test_every_check_has_a_planted_defect_that_it_catches() -> None:
    assert {defect.check for defect in DEFECTS.values()} == set(CHECKS) - UNPLANTED
    for name, defect in DEFECTS.items():
        check = CHECKS[defect.check]
        assert defect.case in check.cases, name
        assert defect.dtype in check.dtypes, name


def test_every_check_says_what_the_contract_says() -> None:
    assert [name for name, check in CHECKS.items() if not check.function.__doc__] == []
    assert len(LEAVES) > 35


def test_a_right_toy_conforms(tmp_path: Path) -> None:
    code, report, lines = conform(register(tmp_path, "equal"), "equal")
    assert (code, lines) == (0, [])
    assert report["conforms"] is True
    lacking = [result for result in report["results"] if result["status"] != "passed"]
    assert {(result["status"], result["message"]) for result in lacking} == {
        ("not offered", "the package has no HALF_DTYPES"),  # NumPy has no half precision
        ("not offered", "the package has no CONVOLUTION_DTYPES"),  # only the packages that come with it say so
        ("not offered", "the package has no CONVOLUTION_DTYPES and no fast"),
        ("not offered", "the package has no fast"),  # and is the reference, not fast
        ("not offered", "the package has no resident"),
        ("not offered", "the package has no join"),  # and meets other processes as threads
    }
    assert {result["group"] for result in lacking} == {
        *("half precision", "convolution dtype", "speed", "parallel", "planted defects")
    }
    assert {result["group"] for result in report["results"]} == set(GROUPS)


def test_a_toy_that_only_predicts_conforms_and_training_is_not_offered(tmp_path: Path) -> None:
    code, report, lines = conform(register(tmp_path, "inference"), "inference")
    assert (code, lines) == (0, [])
    statuses: dict[str, set[str]] = {}
    for result in report["results"]:
        statuses.setdefault(result["group"], set()).add(result["status"])
    for group in ("training mode", "gradients", "trainer"):
        assert statuses[group] == {"not offered"}
    assert statuses["inference"] == {"passed"}
    assert statuses["planted defects"] == {"passed", "not offered"}


#: The broken backends of a third party that no comparison found: {defect: a check that finds it, in a case}.
BROKEN = {
    "zero_gradients": ("gradients equal the reference", "norm"),
    "negated_gradients": ("gradients equal the reference", "norm"),
    "shared_ties": ("a tie goes to the first and relu has no slope at zero", "max-pool"),
    "train_forward_none": ("train forward equals the reference", "norm"),
    "train_forward_variances": ("train forward equals the reference", "norm"),
    "get_weights_doubled": ("get weights returns what the model was built with", "norm"),
    "set_weights_nothing": ("set weights replaces all weights", "resnet20"),
    "seed_ignored": ("a seed is the specs initial weights", "resnet20"),
    "incomplete_weights": ("weights that do not fit are refused and change nothing", "a missing tensor"),
    "gradients_overwrite": ("gradients equal the reference", "norm"),
    "adam_epsilon": ("a step from a shared state equals the reference", "adam"),
    "state_without_slots": ("a step from a shared state equals the reference", "momentum"),
    "slots_forgotten": ("a run that is resumed is the same run", "momentum"),
    "correct_zero": ("a step from a shared state equals the reference", "momentum"),
    "trainer_predicts_zeros": ("a trainer predicts with its weights in evaluation mode", ""),
    "predict_mode": ("no verb touches what is global", ""),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("defect", BROKEN)
def test_a_broken_backend_is_found_and_passes_without_its_defect(
    defect: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, since the toy computes in NumPy: what the command makes of a violation is asked below."""
    name, case = BROKEN[defect]
    assert case in CHECKS[name].cases
    monkeypatch.setattr(toy_broken, "DEFECT", "")
    CHECKS[name](Context(toy_broken, dtype), case)
    monkeypatch.setattr(toy_broken, "DEFECT", defect)
    with pytest.raises(Violation):
        CHECKS[name](Context(toy_broken, dtype), case)


@pytest.mark.parametrize(("defect", "group"), [("zero_gradients", "gradients"), ("seed_ignored", "weights")])
def test_the_command_says_what_a_broken_backend_does_wrong(defect: str, group: str, tmp_path: Path) -> None:
    environment = {**register(tmp_path, "broken"), "TOY_BROKEN": defect}
    code, report, lines = conform(environment, "broken", *only(group))
    assert code == 1
    assert report["conforms"] is False
    assert BROKEN[defect][0] in failed(report)
    messages = {result["message"] for result in report["results"] if result["status"] == "failed"}
    assert len(lines) == len(messages) > 0
    assert all(line.startswith("resnet: ") and f"{group}: " in line for line in lines)


@pytest.mark.parametrize(
    ("toy", "message"),
    [
        ("killed", "its process was killed by SIGKILL"),
        ("exit", "its process ended with exit code 3"),
        ("raise", "ValueError: this toy cannot build"),
        ("renamed", "cannot import name 'resolve_padding'"),
        ("reordered", "received predict(images, model); expected predict(model, images)"),
    ],
)
def test_a_backend_that_crashes_does_not_conform(toy: str, message: str, tmp_path: Path) -> None:
    code, report, lines = conform(register(tmp_path, toy), toy, *only("declaration"))
    assert code == 1
    assert report["conforms"] is False
    assert any(message in line for line in lines)


def test_a_check_that_hangs_fails_alone(tmp_path: Path) -> None:
    environment = {**register(tmp_path, "broken"), "TOY_BROKEN": "hangs_once", "TOY_BROKEN_FILE": str(tmp_path / "f")}
    code, report, _ = conform(environment, "broken", *only("gradients"), "--time-limit", "10")
    assert code == 1
    messages = [result["message"] for result in report["results"] if result["status"] == "failed"]
    assert messages == ["no answer within 10 s; its process was stopped"]


def test_an_unknown_backend_or_group_and_a_missing_framework_are_bad_input(tmp_path: Path) -> None:
    environment = register(tmp_path, "missing")
    for arguments, words in {
        ("nobody",): "received 'nobody'; registered are",
        ("numpy", "--group", "beauty"): "group: received 'beauty'; expected one of declaration, weights",
        ("missing",): "which is not installed: pip install",
        ("numpy", "--python", "/nowhere/python"): "/nowhere/python cannot be started",
    }.items():
        code, _, lines = conform(environment, *arguments)
        assert code == 2
        assert len(lines) == 1
        assert words in lines[0]


def test_the_command_prints_a_table_and_a_sentence() -> None:
    command = [sys.executable, "-m", "resnet_core", "conformance", "numpy", *only("weights")]
    process = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert process.returncode == 0
    assert process.stderr == ""
    assert "checks of" in process.stdout
    assert "numpy keeps the contract: " in process.stdout


def test_the_plug_in_adds_a_test_for_each_check_to_anyones_suite(tmp_path: Path) -> None:
    environment = register(tmp_path, "inference")
    suite = tmp_path / "suite"
    suite.mkdir()
    (suite / "test_own.py").write_text("def test_own(): pass\n")
    (suite / "pytest.ini").write_text(
        "[pytest]\naddopts = -p resnet_core.conformance.pytest_plugin\nresnet_backends = inference\n"
    )
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-k", "own or weights"]
    process = subprocess.run(
        command, cwd=suite, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert process.returncode == 0, process.stdout
    assert "test_own.py::test_own PASSED" in process.stdout
    assert (
        "inference: get weights returns what the model was built with" in process.stdout or "PASSED" in process.stdout
    )


def test_the_plug_in_fails_with_the_violations(tmp_path: Path) -> None:
    environment = {**register(tmp_path, "broken"), "TOY_BROKEN": "get_weights_doubled"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "resnet_core.conformance.pytest_plugin"]
    process = subprocess.run(
        [*command, "--resnet-backend", "broken", "-k", "get weights returns".replace(" ", " and ")],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 1, process.stdout
    assert "has other values; expected the same bits" in process.stdout
