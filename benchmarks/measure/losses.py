"""Losses of runs step by step: how far two diverge, all of them as a table, and in one figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np

#: Two curves have visibly diverged if they differ by more than this fraction.
VISIBLE = 0.01

#: (framework, seed) -> the loss of every step
Losses = dict[tuple[str, int], np.ndarray]


def differences(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Differences relative to `other`, step by step."""
    return np.abs(one - other) / np.abs(other)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """The largest relative difference of all steps."""
    return float(differences(one, other).max())


def parting(apart: np.ndarray) -> int | None:
    """The first step, counted from 1, where a difference is visible."""
    found = np.flatnonzero(apart > VISIBLE)
    return int(found[0]) + 1 if len(found) else None


def write(losses: Losses, path: Path) -> None:
    """Write a table with a column for each run."""
    header = ",".join(["step", *(f"{name} seed {seed}" for name, seed in losses)])
    steps = np.arange(1, len(next(iter(losses.values()))) + 1)
    np.savetxt(path, np.column_stack([steps, *losses.values()]), "%.9g", delimiter=",", header=header, comments="")


def draw(losses: Losses, path: Path, recipe: str) -> None:
    """Draw PNG and SVG for seed 0: the losses, and below their differences from the first framework's."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    runs = {name: values for (name, seed), values in losses.items() if seed == 0}
    (first, reference), *others = runs.items()
    figure = Figure(figsize=(9, 6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    steps = np.arange(1, len(reference) + 1)
    for (name, values), style in zip(runs.items(), ("-", "--", ":"), strict=False):
        upper.plot(steps, values, style, linewidth=1.2, label=name)
    lower.plot([], [])  # the first framework's color
    for name, values in others:
        lower.plot(steps, differences(values, reference), linewidth=1.2, label=f"{name} against {first}")
    parted = [step for _, values in others if (step := parting(differences(values, reference)))]
    lower.axhline(VISIBLE, color="0.6", linewidth=0.8)
    for axes in (upper, lower) if parted else ():
        axes.axvline(min(parted), color="0.6", linewidth=0.8)
    if parted:
        upper.text(
            min(parted),
            0.03,
            f" step {min(parted)}: rounding noise reaches {VISIBLE:.0%}",
            transform=upper.get_xaxis_transform(),
        )
    upper.set(ylabel="loss of the batch", yscale="log", xscale="log", xlim=(1, len(steps)))
    upper.set_title(f"{recipe}: one run in {len(runs)} frameworks, float32, seed 0", loc="left")
    lower.set(xlabel="step", ylabel="relative difference", yscale="log")
    upper.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    upper.yaxis.set_minor_formatter("")
    for axis in (upper.xaxis, upper.yaxis):
        axis.set_major_formatter("{x:g}")
    for axes in (upper, lower):
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    for ending in ("png", "svg"):
        figure.savefig(path.with_suffix(f".{ending}"), dpi=150)
