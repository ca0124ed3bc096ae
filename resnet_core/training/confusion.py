"""The confusion matrix of an evaluation, as a figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from resnet_core.errors import printable
from resnet_core.presentation.figure_file import new_figure, write_figure
from resnet_core.training.evaluation import Evaluation


def draw_confusion(evaluation: Evaluation, file: Path) -> None:
    """Write the matrix: each class in a row, colored by the share of its pictures that were taken for each class.

    Raises InputError for another ending than SVG's and PNG's, and where matplotlib is missing.
    """
    counts = evaluation.confusion
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = max(4.0, 0.45 * len(counts) + 2)
    figure = new_figure("confusion matrix", file, figsize=(side + 0.6, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the class")
    names = [printable(name) for name in evaluation.names]
    axes.set_xticks(range(len(counts)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(counts)), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("class")
    axes.set_title(f"accuracy {evaluation.accuracy:.1%} on {evaluation.pictures:,} pictures of {evaluation.data}")
    if len(counts) <= 30:  # more numbers than that cannot be read
        for (row, column), count in np.ndenumerate(counts):
            if count:
                color = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, str(count), ha="center", va="center", fontsize=8, color=color)
    write_figure(figure, file)
