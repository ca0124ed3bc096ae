"""Everything that was never run on a GPU, in order: is it right there, and only then how fast is it.

Each part is a command of its own with a log, and its result is written before the next begins, so that what was done is
kept wherever it ends. `docs/gpu.md` says how to get there.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from resnet_core.benchmark.machine import core_versions, machine
from resnet_core.errors import ResNetError
from resnet_core.files import require_folder, write_atomically

ROOT = Path(__file__).parent.parent

#: Signals to end. They are heeded between two looks at what runs, so that nothing that was started is forgotten.
ENDED: list[int] = []

#: A network that is computed in no time: does it run?
TINY = ("--set", "depths=[1, 1]", "--set", "channels=[4, 8]", "--set", "input_size=16", "--set", "classes=5")


@dataclass(frozen=True)
class Part:
    """A command of Python's, with the variables and the most seconds that it gets.

    `{folder}` stands for the results', and `{keras}` for another Python: paths are in no result.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 300.0
    #: Nothing else is tried where this one fails.
    first: bool = False

    @property
    def line(self) -> str:
        """As one would type it."""
        return " ".join([*(f"{key}={value}" for key, value in self.environment.items()), "python", *self._words])

    @property
    def _words(self) -> list[str]:
        return [shlex.quote(word) for word in self.command]


def parts(options: Namespace) -> list[Part]:
    """Correctness first, the strictest dtype first, then what each precision and each switch gains."""
    device, small = options.device, TINY if options.quick else ()
    spec = ("resnet20", *small) if options.quick else ("resnet50",)
    levels = ("resnet20", *small) if options.quick else ("resnet18",)
    own, engines = ("--backends", "torch,flax"), ("jax", "torch")
    batches = ("--batch", "2", "--rounds", "6") if options.quick else ("--batch", "1,16,128")

    def resnet(name: str, *command: str, seconds: float = 300.0, first: bool = False, **environment: str) -> Part:
        whole = ("-m", "resnet_core", *command, "--device", device, "--json", f"{{folder}}/{name}.json")
        return Part(name, whole, environment, seconds, first)

    found = [resnet("there", "compare", "resnet20", *TINY, *own, first=True)]
    found += [
        resnet("compare-float64", "compare", *spec, *own, "--dtype", "float64"),
        resnet("compare-float32", "compare", *spec, *own),
        *(resnet(f"compare-keras-{e}", "compare", *spec, "--backends", "keras", KERAS_BACKEND=e) for e in engines),
        resnet("compare-gradients", "compare", *levels, *own, "--level", "gradients", "--dtype", "float64"),
        resnet("compare-training", "compare", *levels, *own, "--level", "training", "--dtype", "float64"),
    ]
    if options.keras_python:
        elsewhere = ("--backends", "keras", "--python", "keras={keras}")
        found += [resnet("compare-keras-tensorflow", "compare", *spec, *elsewhere)]
    resident = ("bench", *spec, *batches, "--resident")
    found += [
        resnet("bench-float32", *resident, *own),
        *([resnet("bench-tf32", *resident, *own, "--dtype", "tf32")] if device == "gpu" else []),
        resnet("bench-bfloat16", *resident, *own, "--dtype", "bfloat16"),
        resnet("bench-convolutions", *resident, *own, "--convolution-dtype", "bfloat16", "--training"),
        *(resnet(f"bench-keras-{e}", *resident, "--backends", "keras", KERAS_BACKEND=e) for e in engines),
    ]
    if options.keras_python:
        found += [resnet("bench-keras-tensorflow", *resident, *elsewhere)]
    found += [
        resnet("bench-from-arrays", "bench", *spec, *batches, *own, "--training"),
        resnet(
            "bench-max-autotune",
            *resident,
            *("--backends", "torch"),
            seconds=600.0,
            TORCHINDUCTOR_MAX_AUTOTUNE="1",
        ),
    ]
    words = ("torchvision's network", "plain NNX, resnet50", "/ torch, training step")
    pairs = [word for each in words for word in ("--only", each)]
    peers = ("benchmarks/speed.py", "--device", device, *pairs, *(("--quick",) if options.quick else ()))
    found += [Part("speed", (*peers, "--json", "{folder}/speed.json"), seconds=900.0)]
    tests = ("-m", "pytest", "-v", "-p", "no:cacheprovider", "--require-device", device)
    which = ("tests/conformance/test_gpu.py",) if options.quick else ("tests/parity",)
    return [*found, Part("tests", (*tests, *which), seconds=3600.0)]


def run(part: Part, folder: Path, seconds: float, keras: str = "") -> dict[str, Any]:
    """What became of it: exit code, seconds, and the JSON that it wrote. Its output goes to a log as it comes."""
    words = (word.replace("{folder}", str(folder)).replace("{keras}", keras) for word in part.command)
    command = [sys.executable, *words]
    result = folder / f"{part.name}.json"
    result.unlink(missing_ok=True)  # of an earlier run
    start = time.perf_counter()
    with (folder / f"{part.name}.log").open("wb") as log:
        log.write(f"$ {part.line}\n".encode())
        log.flush()
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **part.environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        while process.poll() is None and not ENDED and time.perf_counter() < start + seconds:
            time.sleep(0.05)
        if (code := process.poll()) is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    about = {"name": part.name, "command": part.line, "exit_code": code, "seconds": time.perf_counter() - start}
    return {**about, "result": _json(result)}


def run_all(todo: Sequence[Part], folder: Path, budget: float, keras: str = "") -> int:
    """Run one after the other, and write `results.json` after each; 0 if all did what they should."""
    end = time.monotonic() + budget
    report: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "versions": core_versions(),
        "parts": [],
    }
    for part in todo:
        left = end - time.monotonic()
        if left < 1:
            done = {"name": part.name, "command": part.line, "exit_code": None, "seconds": 0.0, "result": None}
        else:
            print(f"{part.name}: {part.line}", flush=True)
            done = run(part, folder, min(part.seconds, left), keras)
        report["parts"].append(done)
        write_atomically(folder / "results.json", (json.dumps(report, indent=1) + "\n").encode())
        print(f"  {_outcome(done)}", flush=True)
        if ENDED:
            return 128 + ENDED[0]
        if part.first and done["exit_code"] != 0:
            print(f"resnet: nothing else was tried; see {folder / part.name}.log", file=sys.stderr)
            return 2
    return 0 if all(done["exit_code"] == 0 for done in report["parts"]) else 1


def _outcome(done: Mapping[str, Any]) -> str:
    if done["exit_code"] is None:
        return "out of time" if done["seconds"] else "not reached"
    return f"exit code {done['exit_code']}, {done['seconds']:.0f} s"


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def _options(arguments: Sequence[str] | None = None) -> Namespace:
    parser = ArgumentParser(description="What was never run on a GPU, in order.")
    parser.add_argument("--folder", type=Path, default=Path("gpu-results"), help="for logs and results (gpu-results)")
    parser.add_argument("--device", choices=("gpu", "cpu"), default="gpu", help="cpu, to see whether it runs")
    parser.add_argument("--keras-python", metavar="F", help="the Python of an environment with TensorFlow for CUDA")
    parser.add_argument("--only", action="append", metavar="WORD", help="only parts with this word; repeatable")
    parser.add_argument("--budget", type=float, default=7200.0, metavar="SECONDS", help="for everything (7200)")
    parser.add_argument("--quick", action="store_true", help="a tiny network: do the commands run?")
    parser.add_argument("--list", action="store_true", help="print the commands and run nothing")
    return parser.parse_args(arguments)


def main() -> int:
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda number, frame: ENDED.append(number))
    options = _options()
    todo = [
        part for part in parts(options) if part.first or any(word in part.name for word in options.only or [part.name])
    ]
    if options.list:
        print("\n".join(part.line for part in todo))
        return 0
    try:
        require_folder(options.folder)
        options.folder.mkdir(parents=True, exist_ok=True)
        return run_all(todo, options.folder.resolve(), options.budget, options.keras_python or "")
    except ResNetError as error:
        print(f"resnet: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
