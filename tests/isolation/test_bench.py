"""The usual mistakes of benchmarks (docs/bench.md): toys that make them are caught by `resnet bench`, or gain nothing.

A toy that does other work has no times; one whose work is right has the times that it takes.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import resnet_core as rn
from command_line import in_process
from resnet_core.architecture import layer_tree
from resnet_core.initialization import residual_ends
from resnet_core.tolerances import TOLERANCES
from toys.packages import toy_behind
from toys.packages.toy_cheating import COMPILING, COMPUTING, HICCUP, PREPARING
from toys.registry import register

NARROW = [
    "resnet20",
    *("--set", "depths=[1, 1]", "--set", "channels=[2, 3]", "--set", "input_size=9", "--set", "classes=3"),
]

#: Wide enough for the rounding of its factors to average out, as in a network that someone would run on a GPU.
WIDER = [
    *("--set", "depths=[1, 1]", "--set", "channels=[16, 32]", "--set", "input_size=16", "--set", "classes=10"),
]

FORMS = ("as built", "fast")


@dataclass(frozen=True)
class Run:
    """What a command came to: exit code, JSON, and lines on standard error."""

    code: int
    result: dict[str, Any]
    errors: list[str]

    def row(self, toy: str, form: str = "as built", batch: int = 2) -> dict[str, Any]:
        (found,) = [
            row for row in self.result["rows"] if (row["backend"], row["form"], row["batch"]) == (toy, form, batch)
        ]
        return found

    def problem(self, kind: str, form: str = "as built", family: str = "cheating") -> str:
        """What is said of a cheating toy, of which then nothing is timed."""
        row = self.row(f"{family}__{kind}", form)
        assert not {"seconds", "images_per_second", "ratio", "rounds"} & row.keys()
        assert f"resnet: {family}__{kind}, {form}, batch 2: {row['problem']}" in self.errors
        return str(row["problem"])


def bench(folder: Path, *arguments: str, toys: tuple[str, ...]) -> Run:
    command = [sys.executable, "-m", "resnet_core", "bench", *NARROW, "--backends", ",".join(toys), "--json", "-"]
    process = subprocess.run(
        [*command, *arguments], env=register(folder, *toys), capture_output=True, text=True, timeout=120, check=False
    )
    assert "Traceback" not in process.stderr
    return Run(process.returncode, json.loads(process.stdout), process.stderr.splitlines())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """All that predict, side by side, each in processes of its own."""
    kinds = ("rounded", "another", "compiling", "lazy", "prepared", "shortcuts", "half", "mode", "hasty", "stale")
    toys = ("equal", "raise", *(f"cheating__{kind}" for kind in kinds))
    return bench(tmp_path_factory.mktemp("toys"), "--batch", "2", "--rounds", "3", toys=toys)


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One at batch 1, whose work is right."""
    return bench(tmp_path_factory.mktemp("toys"), "--batch", "1", "--rounds", "10", toys=("cheating__hiccup",))


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Training steps, of one that does not learn, one that does not train, and one that is not there."""
    toys = ("equal", "cheating__idle", "inference", "missing")
    return bench(tmp_path_factory.mktemp("toys"), "--batch", "2", "--rounds", "1", "--training", toys=toys)


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """In bfloat16, which those here know only by name, and one of them not at all."""
    toys = ("cheating__rounded", "cheating__shortcuts", "cheating__shape", "cheating__exact", "equal")
    return bench(tmp_path_factory.mktemp("toys"), "--batch", "2", "--rounds", "1", "--dtype", "bfloat16", toys=toys)


@pytest.fixture(scope="module")
def convolving(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Convolutions of bfloat16: right, in float32 all the same, wrong in a gradient, not in steps, and not at all."""
    toys = (*(f"convolving__{kind}" for kind in ("right", "full", "backward", "forgetful")), "equal")
    options = ("--batch", "2", "--rounds", "1", "--convolution-dtype", "bfloat16", "--training", *WIDER)
    return bench(tmp_path_factory.mktemp("toys"), *options, toys=toys)


@pytest.fixture(scope="module")
def resident(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Devices that compute behind the process, with the pictures on them."""
    toys = (*(f"behind__{kind}" for kind in ("waits", "leaves", "clocks", "misclocks")), "equal")
    return bench(tmp_path_factory.mktemp("toys"), "--batch", "2", "--rounds", "3", "--resident", toys=toys)


@pytest.fixture(scope="module")
def tensor(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """TF32 on GPUs that are not there, and on a CPU, which has none."""
    toys = (*(f"tensor__{kind}" for kind in ("nearest", "cut", "brain", "full")), "equal")
    options = ("--batch", "2", "--rounds", "1", "--dtype", "tf32", *WIDER)
    return bench(tmp_path_factory.mktemp("toys"), *options, toys=toys)


def test_what_is_right_is_timed_beside_all_that_cheat(run: Run) -> None:
    assert (run.code, run.result["equal"]) == (1, False)
    for form in FORMS:
        row = run.row("equal", form)
        assert row["error"] < row["tolerance"] == 1e-5
        assert row["seconds"]["low"] <= row["seconds"]["median"] <= row["seconds"]["high"]
        assert row["images_per_second"] == pytest.approx(2 / row["seconds"]["median"])
        assert min(row[f"{part}_seconds"] for part in ("import", "build", "first")) > 0
        assert row["peak_memory_bytes"] > 2**24
        assert 0 < row["share_of_limit"] < 1
        assert row["calls"] == 3
    assert run.row("equal")["ratio"] is None
    assert run.row("equal", "fast")["ratio"]["median"] > 0
    assert {"cpu", "cores", "platform", "load_before"} <= run.result["machine"].keys()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", run.result["date"])
    assert run.result["operations_per_second"] > 1e8
    assert run.result["copied_bytes_per_second"] > 1e7


def test_one_that_fails_harms_nobody_else(run: Run) -> None:
    assert run.row("raise")["problem"] == "ValueError: this toy cannot build"


def test_unequal_precision_is_caught(run: Run) -> None:
    for form in FORMS:
        told = run.problem("rounded", form)
        assert re.match(r"the output differs by \S+e-5 from the numpy float64 reference; allowed is 1e-5", told)


def test_half_precision_has_a_bound_of_its_own_at_which_another_network_is_still_caught(half: Run) -> None:
    assert (half.code, half.result["dtype"]) == (2, "bfloat16")
    row = half.row("cheating__rounded")
    assert 1e-5 < row["error"] < row["tolerance"] == 5e-2
    assert "allowed is 5e-2; its time is not shown" in half.problem("shortcuts")
    assert half.row("equal")["problem"] == "dtype: received 'bfloat16'; expected one of float32, float64"


def test_a_convolution_that_is_wrong_for_its_shape_alone_is_caught(half: Run) -> None:
    """In the whole network it is less than half precision's rounding may be."""
    told = half.problem("shape")
    assert re.match(r"the 3x3 convolution of 9 x 9, 2 to 3 channels, stride 2 differs by 3e-2 from this back", told)
    assert "allowed is 2e-2" in told


def test_half_precision_that_is_float32_is_not_timed_as_such(half: Run) -> None:
    assert half.problem("exact").startswith("bfloat16 was not used: the output has float32's digits")


def test_bfloat16_in_convolutions_has_bounds_of_its_own(convolving: Run) -> None:
    assert (convolving.code, convolving.result["convolution_dtype"]) == (2, "bfloat16")
    assert all(convolving.row("convolving__right", form)["calls"] for form in (*FORMS, "training step"))
    row = convolving.row("convolving__right")
    assert 1e-5 < row["error"] < row["tolerance"] == 3e-2
    assert convolving.row("convolving__full", "training step")["tolerance"] == 0.01  # from that of the first
    told = "convolution_dtype: backend equal has no convolutions in bfloat16; leave it out, or use "
    assert convolving.row("equal")["problem"].startswith(told)


def test_float32_in_its_place_is_not_timed_as_such(convolving: Run) -> None:
    told = convolving.problem("full", family="convolving")
    assert told.startswith("bfloat16 was not used: the output has float32's digits")
    assert convolving.row("convolving__forgetful")["images_per_second"] > 0
    told = convolving.problem("forgetful", "training step", family="convolving")
    assert told == (
        "bfloat16 was not used: a training step has float32's digits, 0e0 from this backend's own in float32; "
        "choose float32; its time is not shown"
    )


def test_a_step_whose_gradient_is_wrong_for_a_shape_is_caught(convolving: Run) -> None:
    """By itself: in a network, gradients of bfloat16 differ by more than that."""
    assert convolving.row("convolving__backward")["images_per_second"] > 0
    told = convolving.problem("backward", "training step", family="convolving")
    assert re.match(r"the 3x3 convolution of 16 x 16, 16 to 32 channels, stride 2 differs by \S+ from this back", told)


def test_another_network_is_caught(run: Run) -> None:
    """Another epsilon in its norms, which go into the convolutions of the fast form too."""
    for form in ("as built", "fast"):
        assert "the output differs by" in run.row("cheating__another", form)["problem"]


def test_compilation_is_not_inside_the_time(run: Run) -> None:
    row = run.row("cheating__compiling")
    assert row["first_seconds"] >= COMPILING
    assert row["seconds"]["median"] < COMPILING


def test_what_is_not_computed_yet_is_waited_for(run: Run) -> None:
    """No synchronization: a call that returns at once, with a result that is still to come."""
    row = run.row("cheating__lazy")
    assert row["seconds"]["low"] >= COMPUTING
    assert row["first_seconds"] >= COMPUTING


def test_a_device_that_computes_behind_is_waited_for(resident: Run) -> None:
    """By the process' clock until the result is there, or by the device's own between two marks."""
    for kind, way in (("waits", "on the device, waiting"), ("clocks", "on the device, by its events")):
        row = resident.row(f"behind__{kind}")
        assert row["timed_by"] == way
        assert toy_behind.COMPUTING <= row["seconds"]["low"] < 2 * toy_behind.COMPUTING
        assert f"Timed {way}: behind__{kind}." in resident.result["notes"]


@pytest.mark.parametrize("kind", ["leaves", "misclocks"])
def test_a_device_that_is_not_waited_for_is_caught(kind: str, resident: Run) -> None:
    """What only tells its device what to do, and what asks another stream than the one that computes."""
    told = resident.problem(kind, family="behind")
    assert re.match(r"a call takes \S+ ms, and its output is here \S+ ms after that: it was not waited for", told)
    assert resident.code == 2  # for the next


def test_who_cannot_leave_pictures_on_its_device_says_so(resident: Run) -> None:
    assert resident.row("equal")["problem"] == "package toy_equal has no resident, which is optional but needed here"


def test_tf32_has_a_bound_of_its_own(tensor: Run) -> None:
    row = tensor.row("tensor__nearest")
    assert 1e-5 < row["error"] < row["tolerance"] == TOLERANCES["tf32 output"]["tf32"]
    assert row["seconds"]["median"] > 0
    assert (row["device"], row["timed_by"], tensor.result["dtype"]) == ("gpu", "from array to array", "tf32")


@pytest.mark.parametrize("kind", ["cut", "brain"])
def test_less_than_tf32_is_caught_at_its_bound(kind: str, tensor: Run) -> None:
    """Bits that are cut off in the place of being rounded, and bfloat16."""
    assert "the output differs by" in tensor.problem(kind, family="tensor")
    assert "allowed is 2e-3" in tensor.problem(kind, family="tensor")


def test_tf32_that_was_not_used_is_not_timed_as_such(tensor: Run) -> None:
    told = tensor.problem("full", family="tensor")
    assert told.startswith("TF32 was not used: the output has float32's digits")
    assert "; choose float32" in told


def test_a_cpu_has_no_tf32_and_one_line_says_so(tensor: Run) -> None:
    told = "dtype: received 'tf32', which only a GPU has; choose float32, or the device gpu"
    assert [line for line in tensor.errors if "equal" in line] == [f"resnet: equal, as built, batch 2: {told}"]
    assert tensor.code == 2


def test_preparing_the_pictures_is_inside_for_everybody(run: Run) -> None:
    """One side's input pipeline inside: pictures that were seen before would come from the other's store."""
    assert run.row("cheating__prepared")["seconds"]["low"] >= PREPARING


def test_zero_initialized_residuals_prove_nothing_and_are_not_used(run: Run) -> None:
    spec = rn.spec("resnet20", depths=[1, 1], channels=[2, 3], input_size=9, classes=3, zero_init_residual=True)
    usual, ends = rn.initialize(spec), residual_ends(layer_tree(spec))
    assert ends
    assert not any(np.any(usual[f"{path}.weight"]) for path in ends)  # the toy would change nothing
    assert "the output differs by" in run.problem("shortcuts")


def test_another_batch_is_caught(run: Run) -> None:
    assert "the output differs by" in run.problem("half")


def test_the_slowest_calls_are_told_beside_the_median(single: Run) -> None:
    """A mean for a distribution: what waits now and then is neither hidden, nor in the median."""
    row = single.row("cheating__hiccup", batch=1)
    assert row["calls"] == 100
    assert row["p99_seconds"] >= HICCUP > row["seconds"]["median"]


def test_fewer_than_a_hundred_calls_have_no_99th_percentile(run: Run) -> None:
    assert run.row("equal")["p99_seconds"] is None


def test_the_wrong_mode_is_caught(run: Run) -> None:
    """Norms that normalize by the batch."""
    assert "the output differs by" in run.problem("mode")


def test_the_error_is_checked_after_speeding_up(run: Run) -> None:
    assert "seconds" in run.row("cheating__hasty")
    assert "the output differs by 1e-3" in run.problem("hasty", "fast")


def test_what_a_backend_warns_of_is_said_with_the_result(run: Run) -> None:
    assert "cheating__hasty, fast: nothing is compiled here" in run.result["notes"]


def test_the_error_is_checked_after_timing_too(run: Run) -> None:
    assert run.problem("stale").startswith("after timing, the output differs by")


def test_a_step_that_learns_nothing_is_caught(training: Run) -> None:
    form = "training step"
    assert "a training step changes nothing" in training.problem("idle", form)
    assert training.row("equal", form)["seconds"]["median"] > 0


def test_who_does_not_train_is_left_out_of_training_and_it_is_said(training: Run) -> None:
    rows = [row["form"] for row in training.result["rows"] if row["backend"] == "inference"]
    assert rows == [*FORMS]
    assert "inference does not train." in training.result["notes"]


def test_equal_work_is_exit_code_0(single: Run) -> None:
    assert (single.code, single.errors, single.result["equal"]) == (0, [], True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--batch", "0"], "--batch: received '0'; expected numbers of pictures such as 1,16"),
        (["--batch", "1,x"], "--batch: received '1,x'; expected numbers of pictures such as 1,16"),
        (["--input-size", "x"], "--input-size: received 'x'; expected a size such as 224 or 480x640"),
        (["--plot", "a.pdf"], "figure of the benchmark: received 'a.pdf'; expected a file that ends in .svg or .png"),
        (["--json", "no/such/f.json"], "no/such/f.json: no/such is no folder; make it first"),
        (["--backends", "numpy"], "backends: numpy is the reference and always runs"),
        (["--backends", "torhc"], "backends: received 'torhc'; did you mean torch?"),
        (["--python", "flax=x", "--backends", "torch"], "pythons: received one for 'flax'; the timed backends are"),
        (["--training", "--set", "classes=none"], "received classes = None"),
        (["--rounds", "0"], "Invalid value for '--rounds'"),
        (["--dtype", "float64"], "dtype: received 'float64'; expected one of float32, tf32, bfloat16, float16"),
        (["--dtype", "tf32", "--device", "cpu"], "dtype: received 'tf32', which only a GPU has; choose float32, or"),
        (["--dtype", "tf32", "--training"], "dtype: received 'tf32' with training steps; expected float32, or"),
        (["--dtype", "bfloat16", "--training"], "dtype: received 'bfloat16', which is for inference"),
        (["--device", "tpu"], "device: received 'tpu'; expected one of auto, cpu, gpu"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments: list[str], words: str) -> None:
    process = in_process("bench", *NARROW, *arguments)
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr.startswith("resnet: ")
    assert words in process.stderr
    assert process.stderr.count("\n") == 1


def test_a_backend_that_is_not_installed_is_exit_code_2_and_one_line(training: Run) -> None:
    line = (
        'backend missing needs a-framework-that-nobody-has, which is not installed: pip install "toy-missing[missing]"'
    )
    assert training.code == 2
    assert training.errors.count(f"resnet: {line}") == 1
    assert [row["missing"] for row in training.result["rows"] if row["backend"] == "missing"] == [True]
