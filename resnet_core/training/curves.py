"""Training curves of a run, as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resnet_core.presentation.figure_file import new_figure, write_figure


def draw_curves(records: Sequence[dict[str, Any]], folder: Path, title: str) -> None:
    """Write curves.png and curves.svg to `folder`: loss and accuracy by step and by epoch.

    Raises InputError where matplotlib is missing.
    """
    steps = [record for record in records if record["kind"] == "step"]
    epochs = [record for record in records if record["kind"] == "epoch"]
    files = [folder / f"curves.{ending}" for ending in ("png", "svg")]
    figure = new_figure("figure of the curves", files[0], figsize=(9, 3.6), layout="constrained")
    figure.suptitle(title)
    for axes, value, name in zip(
        figure.subplots(1, 2), ("loss", "accuracy"), ("cross-entropy", "accuracy"), strict=True
    ):
        at = [record["step"] for record in steps]
        axes.plot(at, [record[value] for record in steps], color="0.8", linewidth=0.7, label="each batch")
        ends = [record["step"] for record in epochs]
        axes.plot(ends, [record[value] for record in epochs], "o-", color="tab:blue", markersize=3, label="training")
        axes.plot(
            ends, [record[f"test_{value}"] for record in epochs], "s-", color="tab:red", markersize=3, label="test"
        )
        axes.set_xlabel("step")
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylim(bottom=0)
    figure.axes[0].legend()
    for file in files:
        write_figure(figure, file)
