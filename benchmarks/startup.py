"""Start-up: what `import resnet_core` adds to NumPy, how long `resnet` takes to answer, and counting the zoo.

All in new processes, without any framework; each figure is a median and has a target.
"""

from __future__ import annotations

import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from statistics import median

from measure.report import Report, milliseconds, parse_with_output_options
from measure.timing import alternate

from resnet_core.benchmark.timing import seconds

ZOO_CHECK = Path(__file__).parent / "zoo_check.py"


def main() -> int:
    options = _options()
    report = Report(
        name="startup",
        title="Start-up",
        columns=("what", "median", "fastest", "slowest", "target", "met"),
        settings={"runs": options.runs},
    )
    met = [
        _report(report, "import, beyond NumPy's", 0.15, import_cost(options.runs)),
        _report(report, "resnet list", 0.8, command_seconds(options.runs, "list")),
        _report(report, "resnet show resnet1202", 1.0, command_seconds(options.runs, "show", "resnet1202")),
        _report(report, "check of the whole zoo", 2.0, zoo_seconds(options.runs)),
    ]
    report.notes += [
        "Import: whole processes in alternating order; each value is the difference of one pair.",
        "Commands: whole processes. Zoo: shapes, counts and names, inside a new process, after the import.",
    ]
    report.finish(options)
    return 0 if all(met) else 1


def import_cost(runs: int) -> list[float]:
    """Seconds of a process that imports the core minus those of one that imports NumPy."""
    core, numpy = _process("-c", "import resnet_core"), _process("-c", "import numpy")
    core(), numpy()  # warm up: bytecode and the file cache exist from the second time on
    with_core, with_numpy = alternate(core, numpy, runs)
    return [a - b for a, b in zip(with_core, with_numpy, strict=True)]


def command_seconds(runs: int, *arguments: str) -> list[float]:
    command = _process("-m", "resnet_core", *arguments)
    command()
    return [seconds(command) for _ in range(runs)]


def zoo_seconds(runs: int) -> list[float]:
    """A new process each time, because in the same one a second count would be cached."""
    check = _process(str(ZOO_CHECK))
    return [float(check()) for _ in range(runs)]


def _process(*arguments: str) -> Callable[[], str]:
    command = [sys.executable, *arguments]
    return lambda: subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _report(report: Report, what: str, target: float, measured: list[float]) -> bool:
    middle = median(measured)
    met = middle < target
    times = (milliseconds(value) for value in (middle, min(measured), max(measured), target))
    report.add(
        (what, *times, "yes" if met else "no"),
        {"what": what, "median_seconds": middle, "target_seconds": target, "met": met, "seconds": measured},
    )
    return met


def _options() -> Namespace:
    parser = ArgumentParser(description="Start-up times against their targets.")
    parser.add_argument("--runs", type=int, help="processes of each kind (15)")
    parser.add_argument("--quick", action="store_true", help="2 runs: does it run?")
    options = parse_with_output_options(parser)
    if options.runs is None:
        options.runs = 2 if options.quick else 15
    return options


if __name__ == "__main__":
    sys.exit(main())
