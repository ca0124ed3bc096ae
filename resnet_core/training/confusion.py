"""The confusion matrix of an evaluation, as a figure."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from resnet_core.errors import InputError
from resnet_core.files import write_atomically
from resnet_core.training.evaluation import Evaluation

ENDINGS = (".svg", ".png")


def draw_confusion(evaluation: Evaluation, file: Path) -> None:
    """Write the matrix: each class in a row, colored by the share of its pictures that were taken for each class.

    Raises InputError for another ending than SVG's and PNG's, and where matplotlib is missing.
    """
    if file.suffix.lower() not in ENDINGS:
        raise InputError(f"confusion: received {file.name!r}; expected a file that ends in {' or '.join(ENDINGS)}")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError(
            'the matrix needs matplotlib, which is not installed: pip install "matplotlib>=3.9"'
        ) from error
    counts = evaluation.confusion
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = max(4.0, 0.45 * len(counts) + 2)
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the class")
    axes.set_xticks(range(len(counts)), evaluation.names, rotation=45, ha="right")
    axes.set_yticks(range(len(counts)), evaluation.names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("class")
    axes.set_title(f"accuracy {evaluation.accuracy:.1%} on {evaluation.pictures:,} pictures of {evaluation.data}")
    if len(counts) <= 30:  # more numbers than that cannot be read
        for (row, column), count in np.ndenumerate(counts):
            if count:
                color = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, str(count), ha="center", va="center", fontsize=8, color=color)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=file.suffix[1:].lower(), dpi=150)
    write_atomically(file, buffer.getvalue())
