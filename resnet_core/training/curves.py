"""Training curves of a run, as a figure."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resnet_core.files import write_atomically


def draw_curves(records: Sequence[dict[str, Any]], folder: Path, title: str) -> None:
    """Write curves.png and curves.svg to `folder`: loss and accuracy by step and by epoch. Needs matplotlib."""
    from matplotlib.figure import Figure

    steps = [record for record in records if record["kind"] == "step"]
    epochs = [record for record in records if record["kind"] == "epoch"]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
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
    for ending in ("png", "svg"):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=ending, dpi=150)
        write_atomically(folder / f"curves.{ending}", buffer.getvalue())
