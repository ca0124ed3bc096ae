"""Figures as files: the endings, the missing library and the writing, the same for every figure."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_core.errors import InputError, printable_lines
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
    """Write it atomically, as `figure_bytes` has it, in the kind that the file's ending says."""
    write_atomically(file, figure_bytes(figure, file.suffix[1:].lower()))


def figure_bytes(figure: Figure, ending: str) -> bytes:
    """The figure as "svg" or "png". Text stays text in an SVG, and equal figures are equal files.

    A name is not mathematics, whatever signs are in it, and what cannot be printed is escaped.
    """
    from matplotlib import rc_context
    from matplotlib.text import Text

    buffer = io.BytesIO()
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_parse_math(False)
        text.set_text(printable_lines(text.get_text()))
    plain: Any = {"svg.fonttype": "none", "svg.hashsalt": "resnet", "text.parse_math": False}
    with rc_context(plain), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # a box in a PNG; an SVG has the text
        figure.savefig(buffer, format=ending, dpi=150, metadata={"Date": None} if ending == "svg" else {})
    return buffer.getvalue()
