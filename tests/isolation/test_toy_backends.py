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

from hidden import hide
from resnet_core.errors import WorkerError
from resnet_core.workers.parent import Worker
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


def assert_has_numbers(entry: dict[str, Any], tolerances: dict[str, float] | None = None) -> None:
    assert "error" not in entry
    assert entry["output_shape"] == [4, 3]
    limits = tolerances or dict.fromkeys(entry["max_error"], entry["tolerance"])
    assert all(entry["max_error"][key] <= limit for key, limit in limits.items())
    assert entry["seconds"]["first"] > 0
    assert entry["peak_memory_bytes"] > 0


def test_a_registered_toy_is_found_and_compared_without_editing_the_core(tmp_path: Path) -> None:
    environment = register(tmp_path, "equal")
    command = [sys.executable, "-c", "import resnet_core as rn; print(*rn.backends())"]
    names = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()
    assert {"equal", "flax", "keras", "numpy", "torch"} <= set(names)
    code, result, errors = compare(environment, "--backends", "equal")
    assert (code, errors) == (0, [])
    assert result["equal"] is True
    assert_has_numbers(result["backends"]["equal"])
    assert list(result["backends"]["equal"]["max_error"]) == ["stem", "stage1", "stage2", "logits"]


def test_the_built_in_backends_register_by_the_same_rule() -> None:
    found = {entry.name: entry.value for entry in entry_points(group="resnet_core.backends")}
    assert found.items() >= {name: f"resnet_{name}" for name in ("torch", "keras", "flax", "numpy")}.items()


def test_the_tests_stay_green_beside_anyones_backend(tmp_path: Path) -> None:
    """Those that speak of what is registered or installed, run again with a toy in the environment."""
    tests = (
        "isolation/test_toy_backends.py::test_a_registered_toy_is_found_and_compared_without_editing_the_core",
        "isolation/test_toy_backends.py::test_the_built_in_backends_register_by_the_same_rule",
        "unit/test_cli.py::test_a_backend_that_is_not_registered_is_one_line_with_those_that_are",
        "unit/test_cli.py::test_comparing_without_any_framework_is_one_line_with_every_pip_line",
    )
    environment = register(tmp_path / "toys", "raise")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'inner'}"]
    command += [str(Path(__file__).parents[1] / test) for test in tests]
    root = Path(__file__).parents[2]
    process = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout
    assert "5 passed" in process.stdout


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
        ("exit", "exit: its process ended with exit code 3; last output: this toy leaves"),
        ("killed", "killed: its process was killed by SIGKILL (out of memory?); last output: no output"),
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
    environment = register(tmp_path, "noisy", "equal")
    code, result, errors = compare(environment, "--backends", "noisy,equal", "--python", "noisy=/nowhere/python")
    assert code == 2
    assert result["backends"]["noisy"]["bad_input"]
    assert len(errors) == 1
    assert "/nowhere/python cannot be started" in errors[0]
    assert_has_numbers(result["backends"]["equal"])


def test_a_worker_that_has_ended_says_so_however_often_it_is_asked() -> None:
    with Worker() as worker:
        worker.kill()
        for _ in range(2):
            with pytest.raises(WorkerError, match="killed by SIGKILL"):
                worker.call("open_backend", backend="numpy", device="cpu", dtype="float32", time_limit=30)


def test_peak_memory_is_the_workers_own_and_not_what_its_parent_once_took(tmp_path: Path) -> None:
    program = """
import numpy as np, resnet_core as rn
from resnet_core.workers.backend_process import BackendProcess
taken = np.ones(2**27)  # a gibibyte
spec = rn.spec("resnet20", depths=[1], channels=[2])
with BackendProcess("equal") as process:
    process.open()
    process.build(spec, rn.initialize(spec))
    print(process.time_predictions(np.ones((1, 9, 8, 3)), repeats=1, budget=1.0)[1])
"""
    command, environment = [sys.executable, "-c", program], register(tmp_path, "equal")
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert 2**24 < int(process.stdout) < 2**29


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
    assert errors == ["resnet: forward: package toy_forward has no gradients, which is optional but needed here"]


@pytest.mark.parametrize(
    ("dtype", "words"),
    [
        (
            "float32",
            {
                "negated": "gradients of the narrow network differs by 2e0; allowed is 5e-5",
                "zero": "gradients of the narrow network differs by 1e0; allowed is 5e-5",
                "none": "gradients: 17 of 17 missing (stem.conv.weight, ",
                "renamed": "gradients: 2 of 17 unknown (stage1.block1.conv_1.weight, stage2.block1.conv_1.weight)",
                "infinite": "gradients: 1 of 17 not finite (stem.conv.weight)",
                "listed": "gradients__listed: TypeError: ",
            },
        ),
        (
            "float64",
            {
                "zero": "gradients differs by 1e0; allowed is 1e-11",
                "lost": "gradients: 1 of 17 missing (stem.conv.weight)",
            },
        ),
    ],
)
def test_toys_with_wrong_gradients_are_unequal_and_harm_nobody(
    dtype: str, words: dict[str, str], tmp_path: Path
) -> None:
    toys = {f"gradients__{kind}": line for kind, line in words.items()}
    environment = register(tmp_path, *toys, "equal")
    code, result, errors = compare(
        environment, "--backends", ",".join([*toys, "equal"]), "--level", "gradients", "--dtype", dtype
    )
    assert code == 1
    assert result["equal"] is False
    for toy, line in toys.items():
        assert result["backends"][toy].get("equal", False) is False, toy
        assert any(error.startswith(f"resnet: {toy}: ") and line in error for error in errors), (toy, errors)
    assert all(error.split(": ")[1] in toys for error in errors)
    assert result["backends"]["equal"]["equal"] is True
    assert_has_numbers(result["backends"]["equal"], result["backends"]["equal"]["tolerances"])


@pytest.mark.parametrize("level", ["gradients", "training"])
def test_in_float32_a_narrow_network_decides_and_the_asked_one_is_shown(level: str, tmp_path: Path) -> None:
    toy = "gradients__right"
    environment = register(tmp_path, toy)
    code, result, errors = compare(environment, "--backends", toy, "--level", level, "--dtype", "float32")
    entry = result["backends"][toy]
    assert (code, errors) == (0, [])
    taps = {"stem", "stage1", "stage2", "logits"}
    decide = taps | {"gradients_narrow"} | ({"loss", "weights", "statistics"} if level == "training" else set())
    assert set(entry["tolerances"]) == decide
    assert set(entry["max_error"]) == decide | {"gradients"}


@pytest.mark.parametrize("level", ["logits", "training"])
def test_a_toy_without_float64_is_asked_in_float32_and_the_sentence_says_so(level: str, tmp_path: Path) -> None:
    environment = register(tmp_path, "single", "equal")
    arguments = ("--backends", "single,equal", "--level", level, "--dtype", "float64")
    code, result, errors = compare(environment, *arguments)
    assert (code, errors) == (0, [])
    assert (result["dtype"], result["backends"]["equal"]["dtype"]) == ("float64", "float64")
    entry = result["backends"]["single"]
    assert (entry["dtype"], entry["tolerance"], entry["equal"]) == ("float32", 1e-5, True)
    assert ("gradients_narrow" in entry["max_error"]) is (level == "training")
    command = [sys.executable, "-m", "resnet_core", "compare", *NARROW, *arguments]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    (sentence,) = [line for line in process.stdout.splitlines() if line.startswith("Equal: ")]
    assert "in float64; single within " in sentence
    assert "in float32, since it has no exact float64" in sentence


def test_an_interpreter_that_is_another_program_is_that_backends_failure(tmp_path: Path) -> None:
    environment = register(tmp_path, "noisy", "equal")
    code, result, errors = compare(environment, "--backends", "noisy,equal", "--python", "noisy=/bin/echo")
    assert code == 1
    assert len(errors) == 1
    assert "exit code 0 and answered nothing but '-P -m resnet_core.workers.child': is it a Python" in errors[0]
    assert_has_numbers(result["backends"]["equal"])


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
        ("outdated", "backend outdated: package toy_outdated keeps version 0 of the interface; this is 2"),
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
    if not asked:  # of the frameworks, which may be missing where nobody asked, none is needed
        assert hide(tmp_path, "torch", "keras", "flax") in environment["PYTHONPATH"].split(os.pathsep)
    code, result, errors = compare(environment, *asked)
    entry = result["backends"]["renamed"]
    assert code == 1
    assert result["equal"] is False
    assert "cannot import name 'resolve_padding'" in entry["error"]
    assert "missing" not in entry
    assert any("resolve_padding" in line for line in errors)
    assert_has_numbers(result["backends"]["equal"])


def test_a_toy_of_a_single_file_prints_no_programs_and_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "resnet_core", "source", "resnet20", "--backend", "equal"]
    environment = register(tmp_path, "equal")
    process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert process.returncode == 2
    assert process.stderr == "resnet: package toy_equal has no source, which is optional, and needed here\n"


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
