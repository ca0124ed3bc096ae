"""Figures as files: the endings, the missing library and the writing, the same for every figure."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_core.errors import InputError
from resnet_core.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENDINGS = (".svg", ".png")


def new_figure(what: str, file: Path, **options: object) -> Figure:
    """An empty matplotlib figure that can be written to `file`; `what` is to be drawn, for messages.

    Raises InputError for another ending than SVG's and PNG's, and where matplotlib is missing.
    """
    if file.suffix.lower() not in ENDINGS:
        raise InputError(f"{what}: received {file.name!r}; expected a file that ends in {' or '.join(ENDINGS)}")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError(f'a {what} needs matplotlib, which is not installed: pip install "matplotlib>=3.9"') from error
    return Figure(**options)  # type: ignore[arg-type]


def write_figure(figure: Figure, file: Path) -> None:
    """Write it atomically. Text stays text in an SVG, and equal figures are equal files."""
    from matplotlib import rc_context

    ending = file.suffix[1:].lower()
    buffer = io.BytesIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "resnet"}):
        figure.savefig(buffer, format=ending, dpi=150, metadata={"Date": None} if ending == "svg" else {})
    write_atomically(file, buffer.getvalue())
