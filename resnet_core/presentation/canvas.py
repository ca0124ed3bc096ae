"""Where a diagram is drawn: an SVG that is written here, and the same as a PNG by matplotlib.

Lengths are inches on a page whose y axis points down; the size of a text is in points, 72 to the inch.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from resnet_core.errors import printable
from resnet_core.files import write_atomically
from resnet_core.presentation.figure_file import new_figure, write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Point = tuple[float, float]

#: Points to the inch, and how wide a character is, in its size: of fonts without serifs, the wide ones.
POINTS, WIDE = 72, 0.6


class Canvas(Protocol):
    """What a diagram is made of. `color` is a fill for shapes and the ink of a text; what is drawn later is above."""

    def frame(self, left: float, top: float, width: float, height: float, color: str) -> None:
        """A box without an outline, with round corners, behind everything else."""

    def box(self, left: float, top: float, width: float, height: float, color: str, line: str) -> None:
        """A box with an outline."""

    def circle(self, center: Point, radius: float, line: str) -> None:
        """A white circle with an outline."""

    def line(self, points: Sequence[Point], color: str) -> None:
        """A line through the points."""

    def arrow(self, points: Sequence[Point], color: str) -> None:
        """A line with a head at its last point."""

    def text(
        self,
        at: Point,
        text: str,
        size: float,
        *,
        color: str = "black",
        align: str = "center",
        bold: bool = False,
    ) -> None:
        """A line of text, in the middle of its height at the point; `align` is left, center or right of it."""

    def sign(self, at: Point, text: str, size: float, color: str, line: str) -> None:
        """A text that reads upward, in a box of its own with round corners."""

    def write(self, file: Path) -> None:
        """Write the file, atomically."""


class SvgCanvas:
    """An SVG of its own: no style from elsewhere, and texts that stay texts."""

    def __init__(self, width: float, height: float, title: str) -> None:
        self.width, self.height, self.title = width * POINTS, height * POINTS, title
        self.frames: list[str] = []
        self.lines: list[str] = []
        self.shapes: list[str] = []

    def frame(self, left: float, top: float, width: float, height: float, color: str) -> None:
        self.frames.append(_rectangle(left, top, width, height, f'rx="4.3" fill="{color}"'))

    def box(self, left: float, top: float, width: float, height: float, color: str, line: str) -> None:
        style = f'fill="{color}" stroke="{line}" stroke-width=".6"'
        self.shapes.append(_rectangle(left, top, width, height, style))

    def circle(self, center: Point, radius: float, line: str) -> None:
        x, y = _points(center)
        style = f'fill="white" stroke="{line}" stroke-width=".8"'
        self.shapes.append(f'<circle cx="{x}" cy="{y}" r="{_number(radius * POINTS)}" {style}/>')

    def line(self, points: Sequence[Point], color: str) -> None:
        path = " ".join(",".join(_points(point)) for point in points)
        self.lines.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width=".9"/>')

    def arrow(self, points: Sequence[Point], color: str) -> None:
        self.line(points, color)
        (before_x, before_y), (x, y) = points[-2:]
        length = max(abs(x - before_x), abs(y - before_y))  # arrows run along the axes
        ahead = ((x - before_x) / length, (y - before_y) / length) if length else (0.0, 1.0)
        back = (x * POINTS - 4.5 * ahead[0], y * POINTS - 4.5 * ahead[1])
        corners = [(x * POINTS, y * POINTS)]
        corners += [(back[0] + side * ahead[1], back[1] - side * ahead[0]) for side in (2, -2)]
        path = " ".join(f"{_number(first)},{_number(second)}" for first, second in corners)
        self.lines.append(f'<polygon points="{path}" fill="{color}"/>')

    def text(
        self,
        at: Point,
        text: str,
        size: float,
        *,
        color: str = "black",
        align: str = "center",
        bold: bool = False,
    ) -> None:
        anchor = {"left": "start", "center": "middle", "right": "end"}[align]
        weight = ' font-weight="bold"' if bold else ""
        style = f'fill="{color}" text-anchor="{anchor}"{weight}'
        self.shapes.append(_line_of_text((at[0], at[1] + 0.36 * size / POINTS), text, size, style))

    def sign(self, at: Point, text: str, size: float, color: str, line: str) -> None:
        x, y = at
        width, length = 1.6 * size / POINTS, (WIDE * len(text) + 0.6) * size / POINTS
        style = f'rx="1.5" fill="{color}" stroke="{line}" stroke-width=".6"'
        self.shapes.append(_rectangle(x - width / 2, y - length / 2, width, length, style))
        turned = f'transform="rotate(-90 {_number(x * POINTS)} {_number(y * POINTS)})" text-anchor="middle"'
        self.shapes.append(_line_of_text((x, y + 0.36 * size / POINTS), text, size, turned))

    def write(self, file: Path) -> None:
        write_atomically(file, self.content().encode())

    def content(self) -> str:
        """The file's text: equal diagrams are equal files."""
        size = f"{_number(self.width)} {_number(self.height)}"
        width, height = size.split()
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}pt" height="{height}pt" viewBox="0 0 {size}" '
                'role="img" font-family="DejaVu Sans, Verdana, sans-serif">',
                f"<title>{escape(printable(self.title))}</title>",
                f'<rect width="{width}" height="{height}" fill="white"/>',
                *self.frames,
                *self.lines,
                *self.shapes,
                "</svg>",
                "",
            ]
        )


class FigureCanvas:
    """A figure of matplotlib, for a PNG. Raises InputError where matplotlib is missing."""

    def __init__(self, width: float, height: float, what: str, file: Path) -> None:
        self.figure = new_figure(what, file, figsize=(width, height))
        self.axes: Axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, width), ylim=(height, 0))
        self.axes.set_axis_off()

    def frame(self, left: float, top: float, width: float, height: float, color: str) -> None:
        from matplotlib.patches import FancyBboxPatch

        style = "round,pad=0,rounding_size=0.06"
        patch = FancyBboxPatch((left, top), width, height, boxstyle=style, facecolor=color, edgecolor="none", zorder=0)
        self.axes.add_patch(patch)

    def box(self, left: float, top: float, width: float, height: float, color: str, line: str) -> None:
        from matplotlib.patches import Rectangle

        patch = Rectangle((left, top), width, height, facecolor=color, edgecolor=line, linewidth=0.6, zorder=3)
        self.axes.add_patch(patch)

    def circle(self, center: Point, radius: float, line: str) -> None:
        from matplotlib.patches import Circle

        self.axes.add_patch(Circle(center, radius, facecolor="white", edgecolor=line, linewidth=0.8, zorder=4))

    def line(self, points: Sequence[Point], color: str) -> None:
        xs, ys = zip(*points, strict=True)
        self.axes.plot(xs, ys, color=color, linewidth=0.9, zorder=2)

    def arrow(self, points: Sequence[Point], color: str) -> None:
        self.line(points, color)
        style = {"arrowstyle": "-|>", "color": color, "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 7}
        self.axes.annotate("", points[-1], points[-2], arrowprops=style, zorder=2)

    def text(
        self,
        at: Point,
        text: str,
        size: float,
        *,
        color: str = "black",
        align: str = "center",
        bold: bool = False,
    ) -> None:
        look: dict[str, Any] = {"color": color, "ha": align, "weight": "bold" if bold else "normal"}
        self.axes.text(*at, text, size=size, va="center", zorder=5, **look)

    def sign(self, at: Point, text: str, size: float, color: str, line: str) -> None:
        style = {
            "facecolor": color,
            "edgecolor": line,
            "linewidth": 0.6,
            "boxstyle": "round,pad=0.25,rounding_size=0.2",
        }
        self.axes.text(*at, text, size=size, rotation=90, bbox=style, ha="center", va="center", zorder=4)

    def write(self, file: Path) -> None:
        write_figure(self.figure, file)


def _rectangle(left: float, top: float, width: float, height: float, style: str) -> str:
    x, y, wide, high = (_number(length * POINTS) for length in (left, top, width, height))
    return f'<rect x="{x}" y="{y}" width="{wide}" height="{high}" {style}/>'


def _line_of_text(at: Point, text: str, size: float, style: str) -> str:
    x, y = _points(at)
    return f'<text x="{x}" y="{y}" font-size="{_number(size)}" {style}>{escape(printable(text))}</text>'


def _points(point: Point) -> tuple[str, str]:
    return _number(point[0] * POINTS), _number(point[1] * POINTS)


def _number(value: float) -> str:
    """At most two digits behind the point, and none that says nothing."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
