"""benchmarks/gpu.py without a GPU: its parts are commands that there are, and each leaves its result behind."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from benchmark_scripts import loaded
from command_line import in_process

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "gpu.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return loaded("gpu")


def python(script: ModuleType, name: str, code: str, **more: Any) -> Any:
    return script.Part(name, ("-c", code), **more)


def results(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "results.json").read_text()))


def test_every_part_is_a_command_that_the_command_line_takes(script: ModuleType) -> None:
    """Up to the network, which is none here: options that do not exist are refused before it is read."""
    parts = script.parts(script._options(["--keras-python", "python3"]))
    commands = [part.command for part in parts if part.command[1] == "resnet_core"]
    assert len(commands) >= 15
    peers = next(part.command for part in parts if part.name == "speed")
    offered = subprocess.run([sys.executable, peers[0], "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {word for word in peers if word.startswith("--")} <= {*re.findall(r"--[a-z]+", offered.stdout)}
    for command in commands:
        words = ["no-such-network" if word.startswith("resnet") else word for word in command[2:]]
        found = in_process(*[word.replace("{folder}/", "") for word in words])
        assert (found.returncode, found.stderr.count("\n")) == (2, 1), command
        assert "no-such-network" in found.stderr, command


def test_it_is_right_before_it_is_fast_and_every_precision_is_there(script: ModuleType) -> None:
    names = [part.name for part in script.parts(script._options([]))]
    assert names[0] == "there"
    assert names.index("compare-training") < names.index("bench-float32")
    precisions = {"bench-float32", "bench-tf32", "bench-bfloat16", "bench-convolutions"}
    assert precisions | {"bench-max-autotune", "tests"} <= {*names}
    on_a_cpu = [part.name for part in script.parts(script._options(["--device", "cpu", "--quick"]))]
    assert [name for name in names if name not in on_a_cpu] == ["bench-tf32"]


def test_what_is_done_is_written_before_the_next_begins(script: ModuleType, tmp_path: Path) -> None:
    write = 'open(r"{folder}/first.json", "w").write("[1]")'
    seen = "import json; print([part['name'] for part in json.load(open(r'{folder}/results.json'))['parts']])"
    todo = [
        python(script, "first", write, environment={"SOME": "1"}),
        python(script, "wrong", "raise SystemExit(3)"),
        python(script, "last", f"{seen}; import os; print(os.environ.get('SOME'), r'{{keras}}')"),
    ]
    assert script.run_all(todo, tmp_path, 60, "elsewhere/python") == 1
    first, wrong, last = results(tmp_path)["parts"]
    assert (first["exit_code"], first["result"]) == (0, [1])
    assert (wrong["exit_code"], wrong["result"]) == (3, None)
    assert last["exit_code"] == 0
    log = (tmp_path / "last.log").read_text().splitlines()
    assert log[-2:] == ["['first', 'wrong']", "None elsewhere/python"]
    assert str(tmp_path) not in (tmp_path / "results.json").read_text()
    assert "elsewhere" not in (tmp_path / "results.json").read_text()
    assert {"machine", "versions", "date"} <= results(tmp_path).keys()


def test_where_the_first_fails_nothing_else_is_tried(script: ModuleType, tmp_path: Path) -> None:
    todo = [python(script, "there", "raise SystemExit(2)", first=True), python(script, "next", "")]
    assert script.run_all(todo, tmp_path, 60) == 2
    assert [part["name"] for part in results(tmp_path)["parts"]] == ["there"]


def test_what_takes_too_long_is_ended_with_all_that_it_started(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the rest of a budget that is used up is not reached, and said to be so.

    Its time is over once it has started something, however long that takes here.
    """
    starting = (
        "import subprocess, sys, time\n"
        "started = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "open(r'{folder}/started.new', 'w').write(str(started.pid))\n"
        "import os; os.rename(r'{folder}/started.new', r'{folder}/started'); time.sleep(60)"
    )

    def now() -> float:
        return 300.0 if (tmp_path / "started").exists() else 0.0

    monkeypatch.setattr(script, "time", SimpleNamespace(monotonic=now, perf_counter=now, sleep=time.sleep))
    todo = [python(script, "slow", starting, seconds=300.0), python(script, "next", "", seconds=300.0)]
    assert script.run_all(todo, tmp_path, 300.5) == 1
    slow, following = results(tmp_path)["parts"]
    assert (slow["exit_code"], slow["seconds"]) == (None, 300)
    assert (following["exit_code"], following["seconds"]) == (None, 0)
    started = Path(f"/proc/{(tmp_path / 'started').read_text()}")
    for _ in range(200):
        try:
            if "\nState:\tZ" in (started / "status").read_text():
                break
        except OSError:  # it is gone
            break
        time.sleep(0.1)
    else:
        pytest.fail("what it had started still runs")


def test_who_ends_it_ends_what_it_started(tmp_path: Path) -> None:
    arguments = [sys.executable, str(SCRIPT), "--device", "cpu", "--quick", "--folder", str(tmp_path)]
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        for _ in range(600):
            if (tmp_path / "there.log").exists() and (started := children.read_text().split()):
                break
            time.sleep(0.05)
        process.terminate()
        assert process.wait(timeout=60) == 143
    assert [pid for pid in started if Path(f"/proc/{pid}").exists()] == []
    assert [part["exit_code"] for part in results(tmp_path)["parts"]] == [None]


def test_the_page_names_the_script_and_what_it_lists_has_no_path() -> None:
    listed = subprocess.run([sys.executable, SCRIPT, "--list"], capture_output=True, text=True, check=True)
    page = (ROOT / "docs" / "gpu.md").read_text()
    assert listed.stdout.count("\n") >= 15
    assert "python benchmarks/gpu.py" in page
    assert os.fspath(ROOT) not in listed.stdout
