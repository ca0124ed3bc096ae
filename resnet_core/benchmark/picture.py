"""A benchmark as a figure: pictures per second, a panel for each batch size and kind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_core.benchmark.result import Benchmark, BenchmarkRow
from resnet_core.presentation.figure_file import new_figure, write_figure
from resnet_core.training.curves import COLORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WHAT = "figure of the benchmark"


def require_drawable(file: Path) -> None:
    """Raise InputError where no such file could be drawn: by its ending, or without matplotlib."""
    new_figure(WHAT, file)


def draw_benchmark(result: Benchmark, file: Path) -> None:
    """Write bars of what was timed, with the interval of each, to an SVG or PNG. Raises as `require_drawable` does."""
    panels: dict[tuple[str, int], list[BenchmarkRow]] = {}
    for row in result.timed:
        kind = "training step" if row.form == "training step" else "prediction"
        panels.setdefault((kind, row.batch), []).append(row)
    longest = max(map(len, panels.values()))
    size = (1.2 + 3.4 * len(panels), 1.6 + 0.34 * longest)
    figure = new_figure(WHAT, file, figsize=size, layout="constrained")
    name = result.spec.name or "network"
    height, width = result.input_size
    figure.suptitle(
        f"{name}, {height} x {width}, {result.precision}, {result.machine['cpu']}, {result.date}", fontsize=9
    )
    for axes, ((kind, batch), rows) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        _draw(axes, rows)
        axes.set_title(f"{kind}, batch {batch}", loc="left", fontsize=9)
    write_figure(figure, file)


def _draw(axes: Axes, rows: list[BenchmarkRow]) -> None:
    names = list(dict.fromkeys(row.backend for row in rows))
    places = list(range(len(rows)))
    speeds = [row.images_per_second for row in rows]
    # A short time is a high speed: the interval's ends change places.
    below = [speed - row.batch / row.seconds.high for speed, row in zip(speeds, rows, strict=True)]
    above = [row.batch / row.seconds.low - speed for speed, row in zip(speeds, rows, strict=True)]
    style: dict[str, Any] = {"error_kw": {"elinewidth": 0.9, "capsize": 2}, "height": 0.7}
    colors = [COLORS[names.index(row.backend) % len(COLORS)] for row in rows]
    axes.barh(places, speeds, xerr=[below, above], color=colors, **style)
    for bar, row in zip(axes.patches, rows, strict=True):
        bar.set_alpha(0.55 if row.form == "as built" else 1.0)
    axes.set_yticks(places, [f"{row.backend}, {row.form}" for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel("images per second, median and its 95% interval", fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
