"""How time grows with depth, width, batch and resolution, in every framework: curves, and the exponent of each.

Every point is measured by `rn.bench`, with its proof that all do the same work. `README.md` describes the method.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from measure.report import RESULTS, Report, milliseconds, parse_with_output_options
from measure.rows import timed

import resnet_core as rn
from resnet_core.benchmark.result import BenchmarkRow
from resnet_core.presentation.figure_file import new_figure, write_figure
from resnet_core.training.curves import COLORS

WHAT = "figure of growth"


@dataclass(frozen=True)
class Axis:
    """One thing that grows, everything else as in ResNet-20 on pictures of 32 x 32; `work` is its exponent in MACs."""

    name: str
    values: tuple[int, ...]
    work: int
    point: Callable[[int], tuple[rn.ResNetSpec, int, int]]  #: (network, batch, height and width) at a value
    what: str


def _wide(factor: int) -> rn.ResNetSpec:
    spec = rn.spec("resnet20")
    return rn.spec(spec, channels=[factor * width for width in spec.channels])


AXES = (
    Axis("depth", (20, 32, 56, 110, 1202), 1, lambda n: (rn.spec(f"resnet{n}"), 8, 32), "layers"),
    Axis("width", (1, 2, 4, 8), 2, lambda n: (_wide(n), 8, 32), "times the channels"),
    Axis("batch", (1, 4, 16, 64), 1, lambda n: (rn.spec("resnet20"), n, 32), "pictures"),
    Axis("resolution", (32, 64, 128, 256), 2, lambda n: (rn.spec("resnet20"), 1, n), "height and width"),
)
QUICK = 2  #: points of an axis


def main() -> int:
    options = _options()
    report = Report(
        name="growth",
        title=f"How time grows, from ResNet-20 on 32 x 32, float32, {'training step' if options.training else 'fast'}",
        columns=("axis", "framework", "seconds", "exponent", "of the work"),
        settings={"rounds": options.rounds, "training": options.training, "backends": options.backends},
    )
    curves: dict[str, dict[str, list[float]]] = {}
    for axis in AXES:
        values = axis.values[:QUICK] if options.quick else axis.values
        found: dict[str, list[float]] = {}
        for value in values:
            print(f"{axis.name}: {value} {axis.what}", file=sys.stderr, flush=True)
            for row in _measured(axis, value, options, report):
                found.setdefault(row.backend, []).append(row.seconds.median)
        curves[axis.name] = found
        for backend, seconds in found.items():
            if len(seconds) != len(values):  # a point had a problem, which has been told
                continue
            exponent = float(np.polyfit(np.log(values), np.log(seconds), 1)[0])
            cells = (axis.name, backend, " · ".join(map(milliseconds, seconds)), f"{exponent:.2f}", str(axis.work))
            result = {"axis": axis.name, "backend": backend, "values": values, "seconds": seconds, "exponent": exponent}
            report.add(cells, result)
    report.notes += [f"{axis.name}: {', '.join(map(str, axis.values))} {axis.what}." for axis in AXES]
    report.notes.append(
        "Exponent: of a power law fitted to all points, by least squares of the logarithms; of the work: that of the "
        "multiply-accumulates. Below it, what a call costs by itself is still seen, or a larger product is computed "
        "faster. The first layer's width is that of the images, so that the work grows a little slower than width²."
    )
    report.finish(options)
    for file in [options.plot, RESULTS / f"{report.date}-growth.svg" if options.save else None]:
        if file is not None:
            _draw(curves, file, options.quick)
    return 1 if report.failed else 0


def _measured(axis: Axis, value: int, options: Namespace, report: Report) -> list[BenchmarkRow]:
    spec, batch, size = axis.point(value)
    result = rn.bench(
        spec,
        options.backends.split(","),
        batch=batch,
        training=options.training,
        input_size=(size, size),
        rounds=options.rounds,
    )
    form = "training step" if options.training else "fast"
    return [row for row in timed(result, report) if row.form == form]


def _draw(curves: dict[str, dict[str, list[float]]], file: Path, quick: bool) -> None:
    from matplotlib.ticker import LogLocator

    figure = new_figure(WHAT, file, figsize=(11, 3.2), layout="constrained")
    names = list(dict.fromkeys(name for found in curves.values() for name in found))
    for axes, axis in zip(figure.subplots(1, len(AXES)), AXES, strict=True):
        values = axis.values[:QUICK] if quick else axis.values
        for name, seconds in curves[axis.name].items():
            color = COLORS[names.index(name) % len(COLORS)]
            axes.loglog(values[: len(seconds)], 1000 * np.array(seconds), "o-", color=color, label=name, markersize=3)
        lowest = min((seconds[0] for seconds in curves[axis.name].values()), default=1e-3)
        work = 1000 * lowest * (np.array(values) / values[0]) ** axis.work
        axes.loglog(values, work, ":", color="gray", label="as the work")
        axes.set_title(f"{axis.name}: {axis.what}", loc="left", fontsize=8)
        axes.set_xticks(values, [str(value) for value in values], fontsize=8)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.tick_params(axis="y", labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    axes = figure.axes[0]
    axes.set_ylabel("milliseconds", fontsize=8)
    axes.legend(fontsize=7, frameon=False)
    write_figure(figure, file)


def _options() -> Namespace:
    parser = ArgumentParser(description="How time grows with depth, width, batch and resolution.")
    parser.add_argument("--backends", default="torch,keras,flax,onnx", metavar="A,B")
    parser.add_argument("--training", action="store_true", help="training steps instead of predictions")
    parser.add_argument("--rounds", type=int, help="rounds in which all take turns (7)")
    parser.add_argument("--plot", metavar="F", type=Path, help="draw the curves, to F.svg or F.png")
    parser.add_argument("--quick", action="store_true", help="two points of each axis, 1 round: does it run?")
    options = parse_with_output_options(parser)
    options.rounds = options.rounds or (1 if options.quick else 7)
    return options


if __name__ == "__main__":
    sys.exit(main())
