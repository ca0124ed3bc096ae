"""Whatever a backend or an interpreter answers, prints, forks, closes or leaves open: a line, and the others finish.

Each toy of `toys/packages/toy_hostile.py` computes right but for one thing; each interpreter is a shell script. A
group of them is compared in one command, with one that is right. What stands beside a toy is what is said of it:
nothing where it is equal to the reference.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import resnet_core as rn
from resnet_core.comparison.compare import _accuracy
from toys.registry import register

NETWORK = [
    "resnet20",
    *("--set", "depths=[1, 1]", "--set", "channels=[2, 3]", "--set", "input_size=9", "--set", "classes=3"),
]
#: The command, and how much memory its process took, in MiB.
PROGRAM = """
import os
from pathlib import Path
from resnet_core.cli.commands import main
from resnet_core.workers.memory import peak_resident_memory
try: main()
finally: Path(os.environ["PEAK"]).write_text(str(peak_resident_memory() // 2**20))
"""
EQUAL = ""
LINE = "$"  # at the end of what is a pattern
UNEQUAL = "differs by inf"

ANSWERS = {
    "empty_dict": "predict: received 4 missing (stem, stage1, stage2, …) of 4 expected",
    "always_dict": "predict: received {tap: array} of logits; expected one array, for a model without taps",
    "tap_missing": "predict: received 1 missing (stem) of 4 expected",
    "transposed": UNEQUAL,
    "empty": UNEQUAL,
    "imaginary": "predict: output is complex128; expected real floating-point numbers",
    "object": "TypeError: received a ndarray; expected an array of numbers",
    "structured": "expected real floating-point numbers",
    "nan": UNEQUAL,
    "forged": "peak_device_memory: Expected object, got null",
    "forged_list": "which cannot be read (TypeError",
    "answer_is_a_pipe": "which cannot be read (ValueError: the arrays are in no file)",
    "weights_zero": "get_weights: 27 of 27 tensors are not those given",
    "weights_last_bit": "get_weights: 1 of 27 tensors are not those given (stem.conv.weight)",
    "weights_missing": "stem.conv.weight: None, expected [2, 3, 3, 3]",
    "versions_none": "configure and versions: Expected object, got null - at versions",
    "device_list": "configure and versions: Expected str, got array - at device",
    "memory_nan": "peak_device_memory: Expected int, got float - at peak_memory_bytes",
}
PROCESSES = {
    "error_long": "ValueError: x{1900,2100} …$",
    "error_escapes": r"ValueError: \x1b[2J\x1b]0;title\x07\u202e\ud800",
    "error_unspeakable": "Unspeakable: no message",
    "error_own": "own weights",
    "error_printable": "own error",
    "error_exit_0": "its process ended with exit code 0; last output: no output",
    "segmentation": "its process was killed by SIGSEGV; last output: no output",
    "real_time_signal": "its process was killed by signal 40",
    "error_flood": "its process ended with exit code 5; last output: x{300}$",
    "not_utf_8": EQUAL,
    "forged_number": EQUAL,
    "forged_kind": "forged_kind: this kind is none",
    "endless_line": EQUAL,
    "endless_answer": "its answer is longer than 67,108,864 bytes; its process was stopped",
    "reads_input": EQUAL,
    "forked_both_answer": EQUAL,
    "forked_with_the_pipes": EQUAL,
    "closed_and_gone": "its process ended with exit code 0",
}
#: These need the time limit, which is short for them.
HANGING = {
    "forked_with_the_pipes_and_exits": "its process ended with exit code 4",
    "closed_and_hangs": "closed the pipe of its answers, went on and was stopped",
    "spins_alone": "no answer within 10 s; its process was stopped",
}
OTHERS = {
    "none": "TypeError: received a NoneType; expected an array of numbers",
    "text": "predict: output is <U6; expected real",
    "bytes": "predict: output is |S6; expected real",
    "number": "predict: received one array; expected {tap: array} of stem, stage1, stage2, logits",
    "list": EQUAL,
    "no_array": "RuntimeError: this is no array",
    "generator": "TypeError: received a generator",
    "class": "TypeError: received a type",
    "itself": "TypeError: received a ResNet; expected an array",
    "never_dict": "predict: received one array; expected {tap: array} of",
    "tap_renamed": "predict: received 4 missing (stem, stage1, stage2, …) and 4 unknown (stem., stage1., stage2., …)",
    "tap_more": "predict: received 1 unknown (another)",
    "tap_numbers": "which cannot be read (ValueError: the arrays have no names)",
    "scalar": UNEQUAL,
    "short": UNEQUAL,
    "flat": UNEQUAL,
    "more_axes": UNEQUAL,
    "complex_zero": "predict: output is complex128; expected real",
    "array_of_text": "expected real floating-point numbers",
    "array_of_bytes": "expected real floating-point numbers",
    "bool": "predict: output is bool; expected real",
    "integer": "predict: output is int64; expected real",
    "date": "expected real floating-point numbers",
    "infinite": UNEQUAL,
    "huge": "differs by",
    "error_empty": "ValueError: no message",
    "error_lines": "ValueError: one two three",
    "error_input": "images: these are not liked",
    "error_group": "ExceptionGroup: several (1 sub-exception)",
    "error_memory": "MemoryError: no message",
    "error_recursion": "RecursionError: too deep",
    "error_stop": "StopIteration: no message",
    "error_exit_text": "its process ended with exit code 1; last output: this toy is tired",
    "error_interrupt": "its process was killed by SIGINT",
    "error_base": "its process ended with exit code 1; last output: toy_hostile__error_base.Base: not an Exception",
    "exit_0": "its process ended with exit code 0",
    "exit_255": "its process ended with exit code 255",
    "abort": "its process was killed by SIGABRT",
    "terminated": "its process was killed by SIGTERM",
    "error_flood_of_lines": EQUAL,
    "output_flood": EQUAL,
    "half_a_line": EQUAL,
    "garbage": EQUAL,
    "forged_null": "which cannot be read (TypeError",
    "forged_deep": "which cannot be read (RecursionError",
    "forged_digits": "which cannot be read (ValueError",
    "forged_flood": "which cannot be read (KeyError",
    "closed_and_answers": "its process ended with exit code 1",
    "forked_and_hangs": EQUAL,
    "daemon": EQUAL,
    "thread": EQUAL,
    "no_streams": EQUAL,
    "no_json": "its process ended with exit code 1; last output: TypeError",
    "elsewhere": EQUAL,
    "answer_is_a_device": "which cannot be read (Too many levels of symbolic links)",
    "answer_is_a_folder": "IsADirectoryError",
    "answer_is_empty": "which cannot be read (JSONDecodeError",
    "answer_is_text": "which cannot be read (JSONDecodeError",
    "answer_has_numbers": "which cannot be read (ValueError: the arrays have no names)",
    "answer_claims_all_memory": "which cannot be read (MemoryError",
    "folder_removed": "arrays for a worker process cannot be written (No such file or directory)",
    "no_descriptors": "OSError: [Errno 24] Too many open files",
    "no_file_size": "OSError: [Errno 27] File too large",
    "weights_none": "stem.conv.weight: None, expected [2, 3, 3, 3]",
    "weights_list": "TypeError: received a list; expected {name: array}",
    "weights_nan": "get_weights: 1 of 27 tensors are not those given",
    "weights_transposed": "expected [3, 2, 3, 3]",
    "weights_renamed": "stem.conv.weight.: [2, 3, 3, 3], expected None",
    "weights_object": "TypeError: received a ndarray; expected an array of numbers",
    "weights_complex": "get_weights: stem.conv.weight is complex64; expected real",
    "weights_text": "get_weights: stem.conv.weight is <U6; expected real",
    "weights_numbered": "which cannot be read (ValueError: the arrays have no names)",
    "versions_list": "Expected object, got array - at versions",
    "versions_text": "Expected object, got str - at versions",
    "versions_number": "Expected str, got float - at versions",
    "versions_object": "TypeError: Object of type object is not JSON serializable",
    "device_none": "Expected str, got null - at device",
    "device_dict": "Expected str, got object - at device",
    "device_number": "Expected str, got int - at device",
    "memory_text": "Expected int, got str - at peak_memory_bytes",
    "memory_list": "Expected int, got array - at peak_memory_bytes",
    "memory_infinite": "Expected int, got float - at peak_memory_bytes",
    "memory_negative": "Expected int >= 0 - at peak_memory_bytes",
    "memory_of_5000_digits": "ValueError: Exceeds the limit (4300 digits)",
    "build_none": "AttributeError",
    "build_exit": "its process ended with exit code 6",
}
OTHERS_HANGING = dict.fromkeys(
    ("hangs", "stops", "spins", "deaf", "build_hangs"), "no answer within 10 s; its process was stopped"
)

#: What stands before the right backend: {name: (shell script, what is said)}.
INTERPRETERS = {
    "banner": ("echo Activating the environment; exec {python} \"$@\"", EQUAL),
    "half_a_banner": ("printf Activating; exec {python} \"$@\"", EQUAL),
    "latin1": ("printf '\\351\\377\\n'; exec {python} \"$@\"", EQUAL),
    "chatter": ("seq 20000; echo more >&2; {python} \"$@\" | cat", EQUAL),
    "echo": ("exec echo \"$@\"", "exit code 0 and answered nothing but '-P -m resnet_core.workers.child': is it"),
    "nothing": ("exit 0", "its process ended with exit code 0; last output: no output"),
    "broken": ("echo Activating; echo no such environment >&2; exit 7", "code 7; last output: no such environment"),
    "one_byte": ("printf '\\351'", "its process ended with exit code 0 and answered nothing but '�': is it a Python"),
}  # fmt: skip
HANGING_INTERPRETERS = {
    "deaf": ("exec sleep 60", "no answer within 10 s; its process was stopped"),
    "parrot": ("exec cat", 'no answer within 10 s; its process was stopped and answered nothing but \'{"function": '),
    "endless": ("exec yes", "no answer within 10 s; its process was stopped and answered nothing but 'y'"),
}


def compare(
    folder: Path, toys: list[str], pythons: dict[str, str], *more: str
) -> tuple[int, dict[str, Any], list[str], int]:
    """(exit code, {toy: result}, lines on stderr, peak in MiB) of all toys in one command."""
    temporary, peak = folder / "temporary", folder / "peak"
    temporary.mkdir()
    names = [f"hostile__{toy}" for toy in toys] + [f"equal__{name}" for name in pythons] + ["equal"]
    environment = register(folder / "toys", *names) | {"TMPDIR": str(temporary), "PEAK": str(peak)}
    for name, script in pythons.items():
        (path := folder / name).write_text(f"#!/bin/sh\n{script.replace('{python}', sys.executable)}\n")
        path.chmod(0o755)
        more = (*more, "--python", f"equal__{name}={path}")
    command = [sys.executable, "-c", PROGRAM, "compare", *NETWORK, "--backends", ",".join(names), "--json", "-", *more]
    process = subprocess.run(command, env=environment, capture_output=True, timeout=280, check=False)
    said = process.stderr.decode()
    assert "Traceback" not in said
    assert process.stdout, said
    assert list(temporary.iterdir()) == []
    results = {name.partition("__")[2] or name: entry for name, entry in json.loads(process.stdout)["backends"].items()}
    return process.returncode, results, said.splitlines(), int(peak.read_text())


def wrong(expected: dict[str, str], results: dict[str, Any], lines: list[str]) -> dict[str, list[str]]:
    """{toy: what was said of it} where that is not what was expected."""
    found = {}
    for toy, words in expected.items():
        own = [line for line in lines if f"__{toy}: " in line]
        right = any(re.search(words if words.endswith(LINE) else re.escape(words), line) for line in own)
        short = all(len(line) < 2500 and line.isprintable() for line in own)
        judged = results[toy].get("equal", False) is (words == EQUAL)
        if not (judged and short and (right if words else not own)):
            found[toy] = own or [str(results[toy])]
    return found


@pytest.mark.parametrize(
    "toys",
    [
        pytest.param(ANSWERS, id="answers"),
        pytest.param(PROCESSES, id="processes"),
        *(
            pytest.param(dict(list(OTHERS.items())[start : start + 20]), id=f"others{start}", marks=pytest.mark.long)
            for start in range(0, len(OTHERS), 20)
        ),
    ],
)
def test_whatever_a_backend_does_the_others_are_compared(toys: dict[str, str], tmp_path: Path) -> None:
    code, results, lines, peak = compare(tmp_path, list(toys), {})
    assert wrong(toys, results, lines) == {}
    assert results["equal"]["equal"] is True
    assert code in (1, 2)
    assert list(results) == [*toys, "equal"]
    assert peak < 250  # an answer of 64 MiB is read, and no more is kept of anything


@pytest.mark.parametrize(
    ("toys", "scripts"),
    [
        pytest.param(HANGING, {}, id="some"),
        pytest.param(OTHERS_HANGING, HANGING_INTERPRETERS, id="others", marks=pytest.mark.long),
    ],
)
def test_nothing_takes_longer_than_the_time_limit(
    toys: dict[str, str], scripts: dict[str, tuple[str, str]], tmp_path: Path
) -> None:
    start = time.monotonic()
    pythons = {name: script for name, (script, _) in scripts.items()}
    _, results, lines, peak = compare(tmp_path, list(toys), pythons, "--time-limit", "10")
    assert wrong({**toys, **{name: words for name, (_, words) in scripts.items()}}, results, lines) == {}
    assert time.monotonic() - start < 60 + 20 * (len(toys) + len(scripts))
    assert peak < 250


def test_whatever_an_interpreter_prints_is_told_from_answers(tmp_path: Path) -> None:
    pythons = {name: script for name, (script, _) in INTERPRETERS.items()}
    code, results, lines, _ = compare(tmp_path, [], pythons)
    assert wrong({name: words for name, (_, words) in INTERPRETERS.items()}, results, lines) == {}
    assert results["equal"]["equal"] is True
    assert code == 1


def test_every_toy_is_expected_to_do_something() -> None:
    text = (Path(__file__).parents[1] / "toys" / "packages" / "toy_hostile.py").read_text()
    kinds = set(re.findall(r'^    "(\w+)":', text, re.MULTILINE))
    assert kinds == {*ANSWERS, *PROCESSES, *HANGING, *OTHERS, *OTHERS_HANGING}
    assert len(kinds) >= 100


def test_a_full_disk_for_temporary_files_is_one_line(tmp_path: Path) -> None:
    limited = ["bash", "-c", 'ulimit -f 4 && exec "$@"', "bash", sys.executable, "-m", "resnet_core", "compare"]
    process = subprocess.run(
        [*limited, *NETWORK, "--backends", "equal"],
        env=register(tmp_path / "toys", "equal") | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 2
    assert re.fullmatch(
        r"resnet: numpy: .*: arrays for a worker process cannot be written \(File too large\); TMPDIR says where .*\n",
        process.stderr,
    )
    assert {path.name for path in tmp_path.iterdir()} == {"toys"}


@pytest.mark.parametrize(
    ("toy", "words"),
    [
        ("empty", "predict: received logits of shape (0, 3); expected (1, 3)"),
        pytest.param("nan", "predict: the logits are not finite (NaN or infinity)", marks=pytest.mark.long),
        pytest.param("complex_zero", "predict: output is complex128; expected real", marks=pytest.mark.long),
        pytest.param("exit_255", "its process ended with exit code 255", marks=pytest.mark.long),
    ],
)
def test_predicting_holds_a_backend_to_the_same(toy: str, words: str, tmp_path: Path) -> None:
    spec = rn.spec("resnet20", depths=[1, 1], channels=[2, 3], input_size=9, classes=3)
    rn.save_weights(tmp_path / "weights.safetensors", rn.initialize(spec), spec)
    Image.new("RGB", (9, 9)).save(tmp_path / "picture.png")
    arguments = ["predict", "weights.safetensors", "picture.png", "--backend", f"hostile__{toy}"]
    process = subprocess.run(
        [sys.executable, "-m", "resnet_core", *arguments],
        cwd=tmp_path,
        env=register(tmp_path / "toys", f"hostile__{toy}"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr.splitlines()[-1].startswith(f"resnet: hostile__{toy}: {words}")
    assert "Traceback" not in process.stderr


def test_logits_of_another_shape_have_no_accuracy() -> None:
    """The shipped network is compared with labels."""
    assert _accuracy(np.eye(3), np.arange(3)) == 1
    for shape in ((0, 3), (2, 3), (3, 1, 3), ()):
        assert _accuracy(np.zeros(shape), np.arange(3)) is None


#: The command as from a terminal, whatever these tests were started from: `nohup` and `&` have signals ignored.
INTERRUPTIBLE = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
from resnet_core.cli.commands import main
main()
"""
SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: -15, signal.SIGHUP: -1, signal.SIGKILL: -9}


@pytest.mark.parametrize(
    "toy",
    ["spins_alone", *(pytest.param(toy, marks=pytest.mark.long) for toy in ("hangs", "spins", "deaf", "stops"))],
)
def test_a_worker_ends_with_its_parent_and_leaves_nothing(toy: str, tmp_path: Path) -> None:
    """By whatever signal, even where it could not do anything itself, and its folder is removed."""
    environment = register(tmp_path / "toys", f"hostile__{toy}")
    command = [sys.executable, "-c", INTERRUPTIBLE, "compare", *NETWORK, "--backends", f"hostile__{toy}"]
    parents = {}
    for number in SIGNALS:
        (tmp_path / number.name).mkdir()
        mark = str(tmp_path / f"{number.name}.process")
        own = environment | {"TMPDIR": str(tmp_path / number.name), "TOY_HOSTILE_PROCESS": mark}
        parents[number] = subprocess.Popen(command, env=own, stderr=subprocess.PIPE, text=True)
    try:
        for number, parent in parents.items():
            worker = awaited(tmp_path / f"{number.name}.process")
            assert list((tmp_path / number.name).iterdir())
            parent.send_signal(number)
            _, said = parent.communicate(timeout=60)
            assert parent.returncode == SIGNALS[number]
            assert "Traceback" not in said
            assert soon(lambda worker=worker: not is_running(worker)), number.name
            assert soon(lambda number=number: not list((tmp_path / number.name).iterdir())), number.name
    finally:
        for parent in parents.values():
            parent.kill()
            parent.communicate()


def awaited(mark: Path) -> int:
    assert soon(lambda: mark.exists() and mark.read_text().endswith("\n"), 120)
    return int(mark.read_text())


def soon(condition: Any, seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not (found := bool(condition())) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
