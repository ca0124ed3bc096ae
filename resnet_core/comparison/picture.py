"""A comparison as a figure: the error of each backend by depth, and what a prediction costs there."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, log10
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_core.architecture import taps
from resnet_core.comparison.result import BackendResult, Comparison
from resnet_core.comparison.wording import scientific
from resnet_core.presentation.figure_file import figure_bytes, new_figure, write_figure
from resnet_core.training.curves import COLORS, MARKERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WHAT = "figure of the comparison"

#: The gate's color: no backend has it.
GATE = "#B00020"


def require_drawable(file: Path) -> None:
    """Raise InputError where no such file could be drawn: by its ending, or without matplotlib."""
    new_figure(WHAT, file)


def draw_comparison(comparison: Comparison, file: Path) -> None:
    """Write the figure as SVG or PNG. Raises as `require_drawable` does."""
    write_figure(_figure(comparison, file), file)


def comparison_svg(comparison: Comparison) -> str:
    """The figure as SVG text. Raises InputError where matplotlib is missing."""
    return figure_bytes(_figure(comparison, Path("comparison.svg")), "svg").decode()


def compared_keys(comparison: Comparison) -> tuple[list[str], list[str]]:
    """(taps by depth, the other quantities): whatever any backend has an error of."""
    found = dict.fromkeys(key for result in comparison.backends.values() for key in result.max_error)
    depth = [tap for tap in taps(comparison.spec) if tap in found]
    return depth, [key for key in found if key not in depth]


def _figure(comparison: Comparison, file: Path) -> Figure:
    ran = {name: result for name, result in comparison.backends.items() if result.error is None}
    depth, others = compared_keys(comparison)
    count = len(depth) + len(others)
    figure = new_figure(WHAT, file, figsize=(7.4 + 0.45 * count, 3.2 + 0.22 * len(ran)), layout="constrained")
    name = comparison.spec.name or "network"
    figure.suptitle(f"{name}: {comparison.reference} and {', '.join(ran) or 'nothing'}", fontsize=10)
    if not ran:
        return figure
    looks = {name: (COLORS[at % len(COLORS)], MARKERS[at % len(MARKERS)]) for at, name in enumerate(ran)}
    widths = [2.2 + 0.35 * count, 2.0, 2.0] if count else [2.0, 2.0]
    panels = list(figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0])
    if count:
        _draw_errors(panels.pop(0), ran, depth, others, looks)
    colors = [color for color, _ in looks.values()]
    _draw_seconds(panels[0], ran, colors)
    memory = [result.peak_memory_bytes / 2**20 for result in ran.values()]
    _draw_bars(panels[1], list(ran), memory, colors, [f"{value:,.0f}" for value in memory])
    panels[1].set_title("peak memory, MiB", loc="left", fontsize=9)
    if count:
        figure.legend(loc="outside lower left", ncols=8, frameon=False, fontsize=8)
    return figure


def _draw_errors(
    axes: Axes,
    ran: dict[str, BackendResult],
    depth: Sequence[str],
    others: Sequence[str],
    looks: dict[str, tuple[str, str]],
) -> None:
    """Lines over the taps, points for what has no depth, a dash of the gate where it stands."""
    keys = [*depth, *others]
    low, high = _range(ran)
    for name, result in ran.items():
        color, marker = looks[name]
        shown = {key: _clipped(result.max_error[key], low, high) for key in keys if key in result.max_error}
        ends = len([key for key in depth if key in shown])
        places = [keys.index(key) for key in shown]
        style = {"color": color, "marker": marker, "markersize": 5.5}
        axes.plot(places[:ends], list(shown.values())[:ends], linewidth=1.4, label=name, **style)  # type: ignore[arg-type]
        axes.plot(places[ends:], list(shown.values())[ends:], linestyle="none", **style)  # type: ignore[arg-type]
    gates = {(keys.index(key), limit) for result in ran.values() for key, limit in result.tolerances.items()}
    for number, (place, limit) in enumerate(sorted(gates)):
        label = "gate" if number == 0 else None
        axes.plot([place - 0.5, place + 0.5], [limit, limit], color=GATE, linewidth=1.6, linestyle="--", label=label)
    if depth and others:
        axes.axvline(len(depth) - 0.5, color="0.8", linewidth=0.8)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: scientific(value))
    axes.set_ylim(low / 3, high * 3)
    axes.set_xlim(-0.5, len(keys) - 0.5)
    slanted = len(keys) > 6
    labels = [key.replace("_", " ") for key in keys]
    axes.set_xticks(range(len(keys)), labels, fontsize=8)
    if slanted:
        axes.tick_params(axis="x", rotation=35)
    axes.tick_params(axis="y", labelsize=8)
    axes.set_title("error by depth: max|a − b| / max|b|", loc="left", fontsize=9)
    axes.grid(axis="y", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _range(ran: dict[str, BackendResult]) -> tuple[float, float]:
    """The decades that hold every error and every gate; what is 0 or no number is drawn at their ends."""
    values = [value for result in ran.values() for value in (*result.max_error.values(), *result.tolerances.values())]
    among = [value for value in values if isfinite(value) and value > 0] or [1.0]
    beyond = any(not isfinite(value) for value in values)
    return 10.0 ** (log10(min(among)) - any(value == 0 for value in values)), 10.0 ** (log10(max(among)) + beyond)


def _clipped(value: float, low: float, high: float) -> float:
    return min(max(value, low), high) if isfinite(value) else high


def _draw_seconds(axes: Axes, ran: dict[str, BackendResult], colors: Sequence[str]) -> None:
    """The steady time, and the first call behind it, on one logarithmic scale."""
    milliseconds = [(result.seconds.steady * 1000, result.seconds.first * 1000) for result in ran.values()]
    texts = [f"{_digits(steady)}, first {_digits(first)}" for steady, first in milliseconds]
    steady = [max(value, 1e-3) for value, _ in milliseconds]
    first = [max(value, 1e-3) for _, value in milliseconds]
    axes.barh(range(len(ran)), first, color=list(colors), height=0.34, alpha=0.3)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: _digits(value))
    axes.xaxis.set_minor_formatter(lambda *_: "")
    _draw_bars(axes, list(ran), steady, colors, texts)
    axes.set_xlim(min(steady) / 3, max(first) * 2)
    axes.set_title("a prediction, ms (pale: the first call)", loc="left", fontsize=9)


def _draw_bars(
    axes: Axes, names: Sequence[str], values: Sequence[float], colors: Sequence[str], texts: Sequence[str]
) -> None:
    axes.barh(range(len(names)), list(values), color=list(colors), height=0.34)
    for place, text in enumerate(texts):
        axes.annotate(
            text,
            (0, place - 0.22),
            xycoords=("axes fraction", "data"),
            xytext=(2, 0),
            textcoords="offset points",
            fontsize=7.5,
            va="bottom",
        )
    axes.set_yticks(range(len(names)), list(names), fontsize=8)
    axes.set_ylim(len(names) - 0.6, -0.6)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _digits(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
