"""The seeds' own training runs in every framework: loss and accuracy an epoch, seconds, peak memory.

By default `fashion-adam`, three seeds in each framework, and beside them the plain PyTorch program that the recipe came
from. `--recipe d2l --epochs 1 --seeds 1` is the same table at 96 x 96.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from pathlib import Path
from statistics import mean, pstdev
from typing import Any

import numpy as np
from measure.frameworks import add_framework_option
from measure.report import RESULTS, Report, parse_with_output_options

HERE = Path(__file__).parent
ORIGINAL = "original program"

#: Two curves have visibly parted where they differ by more than this share.
VISIBLE = 0.01
#: Steps over which rounding alone is judged.
FIRST = 20


def main() -> int:
    options = _options()
    report = Report(
        name=f"fashion-{options.recipe}",
        title=f"ResNet-18 of Dive into Deep Learning on Fashion-MNIST, recipe {options.recipe}",
        columns=("what", "seed", "epoch", "training loss", "accuracy", "test accuracy", "seconds", "peak memory"),
        settings={"recipe": options.recipe, "epochs": options.epochs, "seeds": options.seeds, "steps": options.steps},
    )
    curves: dict[tuple[str, int], np.ndarray] = {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.seeds):
            for framework in options.frameworks:
                run = Path(folder) / f"{framework}-{seed}"
                memory = _measured(_train(options, framework, seed, run, steps=options.steps), {})
                records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
                curves[framework, seed] = np.array([r["loss"] for r in records if r["kind"] == "step"])
                report.versions |= json.loads((run / "run.json").read_text())["sessions"][0]["versions"]
                _add(report, framework, seed, [r for r in records if r["kind"] == "epoch"], memory)
            if options.recipe == "fashion-adam" and options.steps is None:
                _original(report, options, seed)
        if "torch" in options.frameworks:
            alone = Path(folder) / "alone"
            _measured(_train(options, "torch", 0, alone, steps=FIRST), {"OMP_NUM_THREADS": "1"})
            lines = [json.loads(line) for line in (alone / "log.jsonl").read_text().splitlines()]
            curves["torch, one thread", 0] = np.array([r["loss"] for r in lines if r["kind"] == "step"])
    _judge(report, curves)
    if options.save:
        _draw(curves, RESULTS / f"{report.date}-{report.name}", options.recipe)
    report.finish(options)
    return 0


def _train(options: Namespace, framework: str, seed: int, run: Path, *, steps: int | None) -> list[str]:
    command = [sys.executable, "-m", "resnet_core", "train", "resnet18_d2l", "--data", "fashion-mnist"]
    command += ["--data-dir", str(options.data_dir), "--backend", framework, "--device", "cpu", "--out", str(run)]
    length = f"steps={steps}" if steps else f"epochs={options.epochs}"
    return [*command, "--recipe", options.recipe, "--with", f"seed={seed}", "--with", length]


def _measured(command: list[str], environment: dict[str, str], output: Any = None) -> int:
    """Peak resident memory of a process in bytes. Raises where it failed."""
    process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=output)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return usage.ru_maxrss * 1024


def _original(report: Report, options: Namespace, seed: int) -> None:
    with tempfile.TemporaryFile("w+") as file:
        program = [sys.executable, str(HERE / "handwritten" / "fashion_program.py"), str(options.data_dir)]
        memory = _measured([*program, str(seed), str(options.epochs)], {}, file)
        file.seek(0)
        _add(report, ORIGINAL, seed, [json.loads(line) for line in file], memory)


def _add(report: Report, what: str, seed: int, epochs: list[dict[str, Any]], memory: int) -> None:
    for record in epochs:
        row = (
            what,
            str(seed),
            str(record["epoch"]),
            f"{record['loss']:.4f}",
            f"{record['accuracy']:.4f}",
            f"{record['test_accuracy']:.4f}",
            f"{record['seconds']:.1f}",
            f"{memory / 2**20:,.0f} MiB",
        )
        keys = ("epoch", "loss", "accuracy", "test_accuracy", "seconds")
        report.add(row, {"what": what, "seed": seed, "memory": memory, **{key: record[key] for key in keys}})


def _judge(report: Report, curves: dict[tuple[str, int], np.ndarray]) -> None:
    """How far the frameworks part: the first steps, the epochs' means, the accuracies."""
    frameworks = [name for name, seed in curves if seed == 0 and "," not in name]
    noise = curves.get(("torch, one thread", 0))
    if noise is not None:
        own = _difference(noise, curves["torch", 0])
        report.notes.append(f"PyTorch with one thread against itself, largest of {len(own)} losses: {own.max():.1e}.")
    for name in frameworks[1:]:
        for seed in range(report.settings["seeds"]):
            difference = _difference(curves[name, seed], curves[frameworks[0], seed])
            report.notes.append(
                f"{name} against {frameworks[0]}, seed {seed}: first {FIRST} losses within "
                f"{difference[:FIRST].max():.1e}; visible (1 %) from step {_parting(difference) or 'none'}."
            )
    last = max(result["epoch"] for result in report.results)
    finals: dict[str, list[float]] = {}
    for result in report.results:
        if result["epoch"] == last:
            finals.setdefault(result["what"], []).append(result["test_accuracy"])
    for what, values in finals.items():
        report.notes.append(f"Test accuracy of {what}: {mean(values):.4f} ± {pstdev(values):.4f} over its seeds.")


def _difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    count = min(len(one), len(other))
    return np.abs(one[:count] - other[:count]) / np.abs(other[:count])


def _parting(difference: np.ndarray) -> int | None:
    found = np.flatnonzero(difference > VISIBLE)
    return int(found[0]) + 1 if len(found) else None


def _draw(curves: dict[tuple[str, int], np.ndarray], path: Path, recipe: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    names = [name for name, seed in curves if seed == 0 and "," not in name]
    for name, style in zip(names, ("-", "--", ":"), strict=False):
        axes.plot(np.arange(1, len(curves[name, 0]) + 1), curves[name, 0], style, linewidth=1, label=name)
    parted = [step for name in names[1:] if (step := _parting(_difference(curves[name, 0], curves[names[0], 0])))]
    if parted:
        axes.axvline(min(parted), color="0.5", linewidth=1)
        axes.annotate(f"rounding is visible from step {min(parted)}", (min(parted), axes.get_ylim()[1]), va="top")
    axes.set_xlabel("step")
    axes.set_ylabel("loss of the batch")
    axes.set_yscale("log")
    axes.set_title(f"{recipe}: one run in {len(names)} frameworks, float32, seed 0")
    axes.legend()
    for ending in ("png", "svg"):
        figure.savefig(path.with_suffix(f".{ending}"), dpi=150)


def _options() -> Namespace:
    parser = ArgumentParser(description="The seeds' training runs in every framework.")
    add_framework_option(parser)
    parser.add_argument("--data-dir", type=Path, required=True, help="where Fashion-MNIST's four files are")
    parser.add_argument("--recipe", default="fashion-adam", help="fashion-adam or d2l (%(default)s)")
    parser.add_argument("--epochs", type=int, default=2, help="(%(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--quick", action="store_true", help="four steps, one seed: does it run?")
    options = parse_with_output_options(parser)
    options.steps = 4 if options.quick else None
    options.seeds = 1 if options.quick else options.seeds
    return options


if __name__ == "__main__":
    sys.exit(main())
