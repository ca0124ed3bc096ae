"""Training curves of one run, or of several over each other, as a figure."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_core.errors import InputError
from resnet_core.presentation.figure_file import new_figure, write_figure
from resnet_core.training.recipe_files import title
from resnet_core.training.reporting import EpochRecord
from resnet_core.training.run_folder import RunFolder

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Okabe and Ito's colors without yellow: apart for every kind of sight, and with the markers also in gray.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

#: Markers along a curve, at most: more would hide it.
MOST_MARKERS = 20


@dataclass(frozen=True)
class Change:
    """Another framework: from `step` on, `backend`."""

    step: int
    backend: str


@dataclass(frozen=True)
class RunCurves:
    """What is drawn of a run: its name, what was trained how, the log's records, and where its framework changed."""

    name: str
    network: str
    recipe: str
    steps: tuple[dict[str, Any], ...]
    epochs: tuple[EpochRecord, ...]
    changes: tuple[Change, ...]

    @property
    def per_epoch(self) -> int | None:
        """Steps in an epoch, by the first one; None where none has ended."""
        return self.epochs[0].step if self.epochs else None

    def to_json(self) -> dict[str, Any]:
        """Plain values, without the steps."""
        return {
            "run": self.name,
            "network": self.network,
            "recipe": self.recipe,
            "epochs": [vars(record) for record in self.epochs],
            "changes": [vars(change) for change in self.changes],
        }


def read_curves(runs: Sequence[str | Path]) -> list[RunCurves]:
    """The curves of each run, under the shortest names that tell them apart. Raises InputError for what is no run."""
    paths = [Path(run) for run in runs]
    return [_read(path, name) for path, name in zip(paths, _names(paths), strict=True)]


def draw_curves(runs: Sequence[RunCurves], files: Sequence[Path]) -> None:
    """Write loss and accuracy of the runs against epochs to each of `files`, SVG or PNG.

    One run is drawn with each of its batches, and against steps while no epoch has ended. Raises InputError for
    several of which one has no epoch, for another ending, and where matplotlib is missing.
    """
    alone = len(runs) == 1
    for run in runs:
        if not run.epochs and not alone:
            raise InputError(f"{run.name}: has no finished epoch to draw; expected runs with one or more")
    rows = -(-(len(runs) + 2) // 4)
    figure = new_figure("figure of the curves", files[0], figsize=(9, 3.9 + 0.2 * rows), layout="constrained")
    titles = {f"{run.network}, {run.recipe}" if alone else run.network for run in runs}
    if len(titles) == 1:
        figure.suptitle(titles.pop(), fontsize=11)
    for axes, value, name in zip(
        figure.subplots(1, 2), ("loss", "accuracy"), ("cross-entropy", "accuracy"), strict=True
    ):
        for number, run in enumerate(runs):
            _draw_run(axes, run, value, number, alone=alone)
        axes.set_xlabel("epoch" if runs[0].epochs else "step")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_ylabel(name)
        axes.grid(color="0.9", linewidth=0.6)
        axes.set_axisbelow(True)
        for number, run in enumerate(runs):
            _mark_changes(axes, run, number, alone=alone)
    figure.axes[0].set_ylim(bottom=0)
    figure.legend(*_legend(runs), loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    for file in files:
        write_figure(figure, file)


def _draw_run(axes: Axes, run: RunCurves, value: str, number: int, *, alone: bool) -> None:
    unit = run.per_epoch or 1
    color, marker = _look(number)
    if alone:
        at = [record["step"] / unit for record in run.steps]
        axes.plot(at, [record[value] for record in run.steps], color="0.8", linewidth=0.7, zorder=1)
    ends = [record.step / unit for record in run.epochs]
    every = max(1, -(-len(ends) // MOST_MARKERS))
    training, test = ([getattr(record, prefix + value) for record in run.epochs] for prefix in ("", "test_"))
    like: dict[str, Any] = {"color": color, "marker": marker, "markevery": every}
    hollow: dict[str, Any] = {"markerfacecolor": "white", "markersize": 4, "markeredgewidth": 0.9}
    axes.plot(ends, training, "--", linewidth=1.1, zorder=2, **like, **hollow)
    axes.plot(ends, test, "-", linewidth=1.6, markersize=4.5, zorder=3, **like)


def _mark_changes(axes: Axes, run: RunCurves, number: int, *, alone: bool) -> None:
    """A dotted line where another framework takes over, and its name beside it, runs at different heights."""
    for change in run.changes:
        at, color = change.step / (run.per_epoch or 1), _look(number)[0]
        axes.axvline(at, color="0.35" if alone else color, linestyle=":", linewidth=1.1, zorder=1)
        axes.annotate(
            change.backend if alone else f"{run.name}: {change.backend}",
            (at, 0.98 - 0.32 * (number % 3)),
            xycoords=("data", "axes fraction"),
            xytext=(2, 0),
            textcoords="offset points",
            rotation=90,
            va="top",
            fontsize=7,
            color="0.25" if alone else color,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
            zorder=4,
        )


def _legend(runs: Sequence[RunCurves]) -> tuple[list[Any], list[str]]:
    """(handles, labels): the runs if there are several, then the kinds of lines."""
    from matplotlib.lines import Line2D

    alone = len(runs) == 1
    entries: list[tuple[Any, str]] = []
    for number, run in enumerate(runs):
        color, marker = _look(number)
        if not alone:
            entries.append((Line2D([], [], color=color, marker=marker, markersize=4.5), run.name))
    color, marker = _look(0) if alone else ("0.35", "o")
    like: dict[str, Any] = {"color": color, "marker": marker, "markersize": 4.5}
    entries.append((Line2D([], [], **like), "test"))
    entries.append((Line2D([], [], linestyle="--", markerfacecolor="white", **like), "training"))
    if alone and runs[0].steps:
        entries.append((Line2D([], [], color="0.8"), "each batch"))
    if any(run.changes for run in runs):
        entries.append((Line2D([], [], color="0.35", linestyle=":"), "change of framework"))
    return [handle for handle, _ in entries], [label for _, label in entries]


def _look(number: int) -> tuple[str, str]:
    """(color, marker) of a run: pairs repeat after 56 runs."""
    return COLORS[number % len(COLORS)], MARKERS[number % len(MARKERS)]


def _read(path: Path, name: str) -> RunCurves:
    folder = RunFolder(path)
    spec, recipe, about = folder.open()
    records = list(folder.records())
    sessions = about["sessions"]
    changes = tuple(
        Change(session["step"], session["backend"])
        for before, session in itertools.pairwise(sessions)
        if session["backend"] != before["backend"]
    )
    return RunCurves(
        name,
        spec.name,
        title(recipe),
        tuple(record for record in records if record["kind"] == "step"),
        tuple(EpochRecord.from_json(record) for record in records if record["kind"] == "epoch"),
        changes,
    )


def _names(paths: Sequence[Path]) -> list[str]:
    """As many last parts of each path as tell them apart; whole paths where nothing does."""
    parts = [path.absolute().parts for path in paths]
    for count in range(1, max(map(len, parts), default=1)):
        names = ["/".join(part[-count:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]
