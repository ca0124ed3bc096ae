"""The same training runs in every framework: loss and accuracy per epoch, seconds, peak memory.

By default `fashion-adam` with three seeds in each framework, and for comparison the plain PyTorch program from which
the recipe comes. `--recipe d2l --epochs 1 --seeds 1` is the same table at 96 x 96. `rounding.py` checks whether the
differences are due to rounding alone.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from measure import losses
from measure.frameworks import add_framework_option
from measure.report import RESULTS, Report, parse_with_output_options

HERE = Path(__file__).parent
ORIGINAL = "original program"

#: `memory` in bytes, `epochs` as in the log; for our runs also `losses` and `versions`.
Run = dict[str, Any]


def main() -> int:
    options = _options()
    report = Report(
        name=f"fashion-{options.recipe}",
        title=f"ResNet-18 of Dive into Deep Learning on Fashion-MNIST, recipe {options.recipe}",
        columns=("what", "seed", "epoch", "training loss", "accuracy", "test accuracy", "seconds", "peak memory"),
        settings={"recipe": options.recipe, "length": _length(options), "seeds": options.seeds},
    )
    curves: losses.Losses = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.runs or Path(temporary)) / f"{options.recipe}-{_length(options)}"
        folder.mkdir(parents=True, exist_ok=True)
        for seed in range(options.seeds):
            for framework in options.frameworks:
                run = _kept(folder / f"{framework}-{seed}.json", partial(_ours, options, framework, seed))
                curves[framework, seed] = np.array(run["losses"])
                report.versions |= run["versions"]
                _add(report, framework, seed, run)
            if options.recipe == "fashion-adam" and options.steps is None:
                _add(report, ORIGINAL, seed, _kept(folder / f"original-{seed}.json", partial(_original, options, seed)))
    _judge_losses(report, curves)
    _judge_accuracies(report)
    if options.save:
        path = RESULTS / f"{report.date}-{report.name}"
        losses.write(curves, path.with_suffix(".csv"))
        losses.draw(curves, path, options.recipe)
    report.finish(options)
    return 0


def _kept(path: Path, measure: Callable[[Path], Run]) -> Run:
    """The stored run, or a new one, which is stored: an interruption does not lose hours of work."""
    if not path.exists():
        run = measure(path.with_suffix(""))
        path.with_suffix(".part").write_text(json.dumps(run))
        path.with_suffix(".part").replace(path)
    return dict(json.loads(path.read_text()))


def _ours(options: Namespace, framework: str, seed: int, out: Path) -> Run:
    shutil.rmtree(out, ignore_errors=True)  # of a run that was interrupted
    command = [sys.executable, "-m", "resnet_core", "train", "resnet18_d2l", "--data", "fashion-mnist"]
    command += ["--data-dir", str(options.data_dir), "--backend", framework, "--device", "cpu", "--out", str(out)]
    command += ["--recipe", options.recipe, "--with", f"seed={seed}", "--with", _length(options)]
    memory = _measured(command)
    records = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return {
        "memory": memory,
        "versions": json.loads((out / "run.json").read_text())["sessions"][0]["versions"],
        "losses": [record["loss"] for record in records if record["kind"] == "step"],
        "epochs": [record for record in records if record["kind"] == "epoch"],
    }


def _length(options: Namespace) -> str:
    return f"steps={options.steps}" if options.steps else f"epochs={options.epochs}"


def _original(options: Namespace, seed: int, out: Path) -> Run:
    program = [sys.executable, str(HERE / "handwritten" / "fashion_program.py"), str(options.data_dir)]
    with out.open("w+") as file:
        memory = _measured([*program, str(seed), str(options.epochs)], file)
        file.seek(0)
        return {"memory": memory, "epochs": [json.loads(line) for line in file]}


def _measured(command: list[str], output: Any = None) -> int:
    """Peak resident memory of a process in bytes. Raises SystemExit if it fails."""
    process = subprocess.Popen(command, stdout=output)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return usage.ru_maxrss * 1024


def _add(report: Report, what: str, seed: int, run: Run) -> None:
    for record in run["epochs"]:
        row = (
            what,
            str(seed),
            str(record["epoch"]),
            f"{record['loss']:.4f}",
            f"{record['accuracy']:.4f}",
            f"{record['test_accuracy']:.4f}",
            f"{record['seconds']:.1f}",
            f"{run['memory'] / 2**20:,.0f} MiB",
        )
        keys = ("epoch", "loss", "accuracy", "test_accuracy", "seconds")
        facts = {key: record[key] for key in keys}
        report.add(row, {"what": what, "seed": seed, "memory": run["memory"], **facts})


def _judge_losses(report: Report, curves: losses.Losses) -> None:
    """How far the frameworks diverge for each seed: the first step where it is visible, and the means of the epochs."""
    first, *others = dict.fromkeys(name for name, _ in curves)
    means = {(r["what"], r["seed"], r["epoch"]): r["loss"] for r in report.results if r["what"] != ORIGINAL}
    for seed in range(report.settings["seeds"]):
        for name in others:
            apart = [
                abs(loss - means[first, seed, epoch]) / means[first, seed, epoch]
                for (what, of, epoch), loss in means.items()
                if (what, of) == (name, seed)
            ]
            step = losses.parting(losses.differences(curves[name, seed], curves[first, seed]))
            report.notes.append(
                f"{name} against {first}, seed {seed}: a step's loss differs by 1 % from step {step or 'none'} on; the "
                f"means of the epochs by {', '.join(f'{share:.2%}' for share in apart)}."
            )


def _judge_accuracies(report: Report) -> None:
    """The mean test accuracy of each framework over its seeds, and the spread over seeds."""
    last = max(result["epoch"] for result in report.results)
    finals: dict[str, list[float]] = {}
    for result in report.results:
        if result["epoch"] == last:
            finals.setdefault(result["what"], []).append(result["test_accuracy"])
    if report.settings["seeds"] > 1:
        for what, values in finals.items():
            report.notes.append(f"Test accuracy of {what}: {mean(values):.4f} ± {stdev(values):.4f} over its seeds.")
        ours = [values for what, values in finals.items() if what != ORIGINAL]
        spread = mean(stdev(values) ** 2 for values in ours) ** 0.5
        largest = max(map(mean, ours)) - min(map(mean, ours))
        report.notes.append(
            f"The frameworks' means differ by {largest:.4f} at most; the seeds' pooled spread: {spread:.4f}."
        )


def _options() -> Namespace:
    parser = ArgumentParser(description="The seeds' training runs in every framework.")
    add_framework_option(parser)
    parser.add_argument("--data-dir", type=Path, required=True, help="where Fashion-MNIST's four files are")
    parser.add_argument("--recipe", default="fashion-adam", help="fashion-adam or d2l (%(default)s)")
    parser.add_argument("--epochs", type=int, default=2, help="(%(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--runs", type=Path, metavar="DIR", help="keep the runs here, and use those that are there")
    parser.add_argument("--quick", action="store_true", help="four steps, one seed: does it run?")
    options = parse_with_output_options(parser)
    options.steps = 4 if options.quick else None
    options.seeds = 1 if options.quick else options.seeds
    return options


if __name__ == "__main__":
    sys.exit(main())
