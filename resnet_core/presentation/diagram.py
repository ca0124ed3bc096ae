"""A network as a figure: a column for each section, a frame for each block, and the shortcuts around them.

Lengths are inches on a page whose y axis points down, so that positions read as the data flows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from math import log2
from pathlib import Path

from resnet_core.analysis import Layer, image_shape, totals
from resnet_core.presentation.canvas import Canvas, FigureCanvas, Point, SvgCanvas
from resnet_core.presentation.folding import Block, Section, fold, names_text
from resnet_core.specification import ResNetSpec
from resnet_core.tree import (
    Activation,
    AveragePool,
    BlurPool,
    ChannelConv,
    Conv,
    Dropout,
    GlobalAveragePool,
    GlobalConcatPool,
    GlobalMaxPool,
    Leaf,
    Linear,
    MaxPool,
    Shape,
    Subsample,
)

#: Fill by kind of layer; what is not listed is `OTHER`. Norms and activations, of which there are many, are thin.
COLORS: dict[type[Leaf], str] = {
    Conv: "#a9c8ec", ChannelConv: "#a9c8ec", MaxPool: "#b9dfb4", AveragePool: "#b9dfb4", BlurPool: "#b9dfb4",
    GlobalAveragePool: "#b9dfb4", GlobalMaxPool: "#b9dfb4", GlobalConcatPool: "#b9dfb4", Subsample: "#b9dfb4",
    Linear: "#d3c0e8",
}  # fmt: skip
OTHER, FRAME, LINE, FAINT = "#f3dfb6", "#f4f5f7", "#3b4252", "#6b7280"

NARROW, WIDE = 0.95, 1.45  # boxes, from the fewest channels to the most
THICK, THIN, GAP = 0.27, 0.15, 0.045  # layers with a kernel, all others, and what is between them
TITLE, SUM, ARM = 0.2, 0.075, 0.32  # a frame's title, the radius of a sum, and how far a shortcut reaches out
COLUMN = WIDE + 2 * ARM + 0.28
HEADER, MARGIN = 0.95, 0.25


def draw(spec: ResNetSpec, file: Path, size: tuple[int, int] | None = None) -> None:
    """Write the diagram for images of `size` = (height, width), by default the spec's own, as SVG or PNG.

    Raises InputError for another ending, for a PNG where matplotlib is missing, and as `analysis.layers` does.
    """
    sections = fold(spec, size)
    height = HEADER + max(map(_column_height, sections)) + 3 * MARGIN
    width = COLUMN * (len(sections) + 1) + MARGIN
    canvas: Canvas
    if file.suffix.lower() == ".svg":
        canvas = SvgCanvas(width, height, f"The stages, blocks and shortcuts of {spec.name or 'the network'}")
    else:
        canvas = FigureCanvas(width, height, "diagram", file)
    _Page(canvas, sections).draw(spec, image_shape(spec, size))
    canvas.write(file)


def layer_label(layer: Layer) -> str:
    """What a box says: "3×3, 64, /2" is a convolution to 64 channels with stride 2."""
    leaf = layer.leaf
    match leaf:
        case Conv():
            words = [f"{leaf.kernel[0]}×{leaf.kernel[1]}, {leaf.out_channels}"]
            words += [f"/{leaf.stride[0]}"] if leaf.stride != (1, 1) else []
            words += [f"rate {leaf.dilation[0]}"] if leaf.dilation != (1, 1) else []
            words += [f"{leaf.groups} groups"] if leaf.groups > 1 else []
            return ", ".join(words)
        case MaxPool() | AveragePool():
            return f"{leaf.kernel[0]}×{leaf.kernel[1]} {_words(leaf)}, /{leaf.stride[0]}"
        case Subsample() | BlurPool():
            return f"{_words(leaf)}, /{leaf.stride[0]}"
        case Activation():
            return leaf.function.replace("_", " ")
        case ChannelConv():
            return f"{leaf.kernel} channels"
        case Dropout():
            return f"{_words(leaf)}, {leaf.rate:.2g}"
        case Linear():
            return f"linear, {leaf.out_features}"
        case _:
            return _words(leaf)


def _words(leaf: Leaf) -> str:
    """GlobalAveragePool as "global average pool", and ReLU as it is."""
    name = type(leaf).__name__
    return " ".join(re.findall(r"[A-Z][a-z]+", name)).lower() if re.search("[a-z]{2}", name) else name


def _thickness(layer: Layer) -> float:
    return THICK if type(layer.leaf) in COLORS else THIN


def _stack_height(layers: Sequence[Layer]) -> float:
    return sum(_thickness(layer) + GAP for layer in layers)


def _block_height(block: Block) -> float:
    added = 2 * SUM + 2 * GAP if block.shortcut is not None else 0.0
    title = TITLE if block.names[0] else GAP
    return title + _stack_height(block.body) + added + _stack_height(block.post) + GAP


def _column_height(section: Section) -> float:
    return sum(_block_height(block) + MARGIN for block in section.blocks) - MARGIN


class _Page:
    """The canvas and what is drawn on it."""

    def __init__(self, canvas: Canvas, sections: Sequence[Section]) -> None:
        self.canvas, self.sections = canvas, sections
        layers = [layer for section in sections for block in section.blocks for layer in block.layers]
        channels = [layer.output_shape[-1] for layer in layers]
        self.fewest, self.most = min(channels), max(max(channels), 2 * min(channels))

    def draw(self, spec: ResNetSpec, image: Shape) -> None:
        """Everything."""
        summary = totals(spec, (image[0], image[1]))
        title = f"{_count(summary.parameters)} parameters, {_count(summary.macs)} multiply-accumulates"
        self.canvas.text((MARGIN, 0.2), spec.name or "network", 13, align="left", bold=True)
        self.canvas.text((MARGIN, 0.42), title, 8, color=FAINT, align="left")
        top = HEADER + MARGIN
        self._heading(COLUMN / 2, "input", _size(image))
        bottom = top + THICK
        center = COLUMN / 2
        self._box(center, top, WIDE, THICK, "images", "white")
        for section in self.sections:
            self._turn(center, bottom, center + COLUMN, top)
            center += COLUMN
            self._heading(center, section.name, _size(section.output_shape))
            bottom = self._column(section, center, top)
        self._arrow([(center, bottom), (center, bottom + MARGIN)])

    def _column(self, section: Section, center: float, top: float) -> float:
        for number, block in enumerate(section.blocks):
            if number:
                self._arrow([(center, top), (center, top + MARGIN)])
                top += MARGIN
            top = self._block(block, center, top)
        return top

    def _block(self, block: Block, center: float, top: float) -> float:
        """Returns the lower edge."""
        height = _block_height(block)
        self._frame(center - COLUMN / 2 + 0.1, top, COLUMN - 0.2, height)
        y = top + GAP
        if block.names[0]:
            left, middle = center - COLUMN / 2 + 0.17, top + TITLE / 2
            self.canvas.text((left, middle), names_text(block.names), 7, color=FAINT, align="left")
            if len(block.names) > 1:
                self.canvas.text((center - 0.1, middle), f"× {len(block.names)}", 8.5, align="right", bold=True)
            y = top + TITLE
        starts = list(self._stack(block.body, center, y))
        self._line([(center, top), (center, starts[-1])])
        y = starts[-1]
        if block.shortcut is not None:
            y += GAP + SUM
            self._shortcut(block, center, starts[block.reads] - GAP / 2 if block.reads else top + GAP, y)
            y += SUM + GAP
        (*_, y) = self._stack(block.post, center, y)
        self._line([(center, y - GAP), (center, top + height)])
        return top + height

    def _stack(self, layers: Sequence[Layer], center: float, y: float) -> Iterator[float]:
        """Draws the boxes; yields where each starts, and where the last one ends."""
        for layer in layers:
            yield y
            self._line([(center, y - GAP), (center, y)])
            color = COLORS.get(type(layer.leaf), OTHER)
            self._box(center, y, self._width(layer), _thickness(layer), layer_label(layer), color)
            y += _thickness(layer) + GAP
        yield y

    def _shortcut(self, block: Block, center: float, start: float, end: float) -> None:
        """From `start` around the right side to the sum, whose center is at `end`; its layers stand on it."""
        arm = center + WIDE / 2 + ARM / 2 + 0.04
        self._line([(center, end - SUM - GAP), (center, end + SUM + GAP)])
        self._arrow([(center, start), (arm, start), (arm, end), (center + SUM, end)])
        self.canvas.circle((center, end), SUM, LINE)
        self.canvas.text((center, end), "+", 8)
        if block.shortcut:
            label = ", ".join(layer_label(layer) for layer in block.shortcut)
            color = COLORS.get(type(block.shortcut[0].leaf), OTHER)
            self.canvas.sign((arm, (start + end) / 2), label, 6, color, LINE)

    def _width(self, layer: Layer) -> float:
        share = log2(layer.output_shape[-1] / self.fewest) / log2(self.most / self.fewest)
        return NARROW + (WIDE - NARROW) * share

    def _turn(self, center: float, bottom: float, next_center: float, top: float) -> None:
        """From the foot of one column to the head of the next."""
        between, low, high = next_center - COLUMN / 2, bottom + MARGIN / 2, top - MARGIN / 2
        corners = [(center, low), (between, low), (between, high), (next_center, high)]
        self._arrow([(center, bottom), *corners, (next_center, top)])

    def _heading(self, center: float, name: str, size: str) -> None:
        self.canvas.text((center, HEADER - 0.24), name, 10, bold=True)
        self.canvas.text((center, HEADER - 0.06), size, 8, color=FAINT)

    def _frame(self, left: float, top: float, width: float, height: float) -> None:
        self.canvas.frame(left, top, width, height, FRAME)

    def _box(self, center: float, top: float, width: float, height: float, label: str, color: str) -> None:
        self.canvas.box(center - width / 2, top, width, height, color, LINE)
        self.canvas.text((center, top + height / 2), label, 7.5 if height == THICK else 6)

    def _line(self, points: Sequence[Point]) -> None:
        self.canvas.line(points, LINE)

    def _arrow(self, points: Sequence[Point]) -> None:
        self.canvas.arrow(points, LINE)


def _count(value: int) -> str:
    """4.09 billion, 269 thousand."""
    for unit, name in ((10**9, "billion"), (10**6, "million"), (10**3, "thousand")):
        if value >= unit:
            return f"{value / unit:.3g} {name}"
    return str(value)


def _size(shape: Shape) -> str:
    return " × ".join(map(str, shape))
