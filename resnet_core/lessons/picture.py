"""The network in pictures: an overview, each part, each kind of block; every box leads on and has its places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log2

from resnet_core import tree
from resnet_core.analysis import Layer
from resnet_core.lessons import svg
from resnet_core.lessons.texts import Texts
from resnet_core.presentation.diagram import layer_label
from resnet_core.presentation.folding import Block, Section, names_text

#: Heights and widths are pixels at the size that the picture is drawn for; it grows and shrinks with its frame.
SLOT, HEIGHT = 128, 184
LAYER, BOX, GAP, TOP, ROW = 112, 46, 26, 26, 118
#: Where a picture of one row of boxes without a shortcut has it.
FLAT = 52

_COLORS: dict[type[tree.Leaf], str] = {
    tree.Conv: "conv", tree.ChannelConv: "conv", tree.MaxPool: "pool", tree.AveragePool: "pool", tree.BlurPool: "pool",
    tree.GlobalAveragePool: "pool", tree.GlobalMaxPool: "pool", tree.GlobalConcatPool: "pool", tree.Subsample: "pool",
    tree.Linear: "linear", tree.BatchNorm: "norm", tree.GroupNorm: "norm", tree.LayerNorm: "norm",
    tree.FrozenNorm: "norm",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class View:
    """A picture, its name, a sentence about it, and the view that it is a part of ("" for the overview)."""

    name: str
    title: str
    about: str
    above: str
    svg: str


def views(sections: Sequence[Section], image: tree.Shape, texts: Texts) -> list[View]:
    """The overview, then the parts in order, each followed by its blocks."""
    drawn = _overview(sections, image, texts)
    found = [View("overview", texts("page.network"), _overview_about(sections, texts), "", drawn)]
    for section in sections:
        if not section.blocks or not section.blocks[0].names[0]:
            layers = [layer for block in section.blocks for layer in block.layers]
            about = _shapes(section.input_shape, section, texts)
            found.append(View(section.name, section.name, about, "overview", _chain(section, layers, texts)))
            continue
        about = _shapes(section.input_shape, section, texts)
        found.append(View(section.name, section.name, about, "overview", _stage(section, texts)))
        shape = section.input_shape
        for block in section.blocks:
            title = f"{names_text(block.names)}{_times(block)}"
            name = f"{section.name}.{block.names[0]}"
            about = _block_about(block, shape, texts)
            found.append(View(name, title, about, section.name, _block(block, name, texts)))
            shape = block.output_shape
    return found


def block_name(section: Section, block: Block) -> str:
    """The path of a block's first name; of a row of layers that of its section."""
    return f"{section.name}.{block.names[0]}".rstrip(".")


def layer_keys(layer: Layer, name: str) -> tuple[list[str], list[str]]:
    """(own, related) places of a layer of the block or part at path `name`."""
    tail, kind = layer.path[len(name) + 1 :], f"kind.{type(layer.leaf).__name__}"
    if "." not in name:
        return [f"{name}.{tail}"], [name, kind]
    first, _, rest = tail.partition(".")
    if rest and first != "shortcut":
        return [f"gate.{rest}"], [f"block.{first}", "gate", kind]
    return [f"block.{tail}"], [kind, *(["block.shortcut"] if first == "shortcut" else [])]


def color(leaf: tree.Leaf) -> str:
    """The class of a layer's color."""
    return _COLORS.get(type(leaf), "other")


def size_text(shape: Sequence[int]) -> str:
    """56 × 56 × 64."""
    return " × ".join(map(str, shape))


def counted_blocks(count: int, texts: Texts) -> str:
    """6 blocks; nothing for none."""
    if not count:
        return ""
    return texts("picture.blocks.many", count=count) if count > 1 else texts("picture.blocks.one")


def _section_keys(section: Section) -> tuple[list[str], list[str]]:
    if not section.blocks or not section.blocks[0].names[0]:
        layers = [layer for block in section.blocks for layer in block.layers]
        return [section.name, *(layer_keys(layer, section.name)[0][0] for layer in layers)], []
    related = [key for block in section.blocks for key in _block_keys(block, block_name(section, block))]
    return [section.name], ["stage", *dict.fromkeys(related)]


def _block_keys(block: Block, name: str) -> list[str]:
    keys = [key for layer in block.layers for key in layer_keys(layer, name)[0]]
    keys += ["block.add"] * (block.shortcut is not None) + ["block.shortcut"] * bool(block.shortcut)
    return ["block", *dict.fromkeys(keys), *(["gate"] if any(key.startswith("gate.") for key in keys) else [])]


# The overview.


def _overview(sections: Sequence[Section], image: tree.Shape, texts: Texts) -> str:
    shapes = [image, *(section.output_shape for section in sections)]
    sides = [shape[0] if len(shape) == 3 else 1 for shape in shapes]
    widths = [shape[-1] for shape in shapes]
    middle, parts = 76, []
    parts.append(
        svg.link("overview", "", (["network"], []),
              _cuboid(SLOT / 2, middle, _side(sides[0], sides), _wide(widths[0], widths), "input", 1)
              + svg.text(SLOT / 2, 150, texts("picture.input"), "name")
              + svg.text(SLOT / 2, 167, size_text(image), "small"))
    )  # fmt: skip
    right = SLOT / 2 + _wide(widths[0], widths) / 2
    for number, section in enumerate(sections, start=1):
        center = SLOT * number + SLOT / 2
        width, side = _wide(widths[number], widths), _side(sides[number], sides)
        count = sum(len(block.names) for block in section.blocks if block.names[0])
        kind = "stage" if count else "part"
        shown = min(count, 4) or 1
        inside = _cuboid(center, middle, side, width, kind, shown)
        if any(block.shortcut is not None for block in section.blocks):
            left, end, top = center - width / 2 - 7, center + width / 2 + 7, middle - side / 2 - 4 * shown - 14
            inside += (
                f'<path class="skip" d="M{left:g} {middle:g}C{left:g} {top:g} {end:g} {top:g} {end:g} {middle:g}"/>'
            )
        inside += svg.text(center, 150, section.name, "name")
        inside += svg.text(center, middle + 5, f"× {count}", "times") if count else ""
        inside += svg.text(center, 167, size_text(section.output_shape), "small")
        parts.append(svg.arrow(right + 9, center - width / 2 - 9, middle))
        parts.append(svg.link(section.name, counted_blocks(count, texts), _section_keys(section), inside))
        right = center + width / 2
    return svg.drawing(SLOT * (len(sections) + 1), HEIGHT - 6, texts("picture.whole"), parts)


def _cuboid(center: float, middle: float, side: float, width: float, kind: str, count: int) -> str:
    """A map, and behind it those of the blocks that follow."""
    boxes = [
        svg.box(center - width / 2 + 3 * n, middle - side / 2 - 4 * n, width, side, kind)
        for n in reversed(range(count))
    ]
    return "".join(boxes)


def _side(value: int, among: Sequence[int]) -> float:
    """How high a map is drawn, from its side in pixels."""
    most = max(among)
    return 30 + 64 * (log2(max(value, 1)) / log2(most) if most > 1 else 1)


def _wide(value: int, among: Sequence[int]) -> float:
    """How wide a map is drawn, from its channels."""
    low, high = min(among), max(max(among), 2 * min(among))
    return 34 + 44 * log2(value / low) / log2(high / low)


def _overview_about(sections: Sequence[Section], texts: Texts) -> str:
    count = sum(len(block.names) for section in sections for block in section.blocks if block.names[0])
    stages = sum(bool(section.blocks and section.blocks[0].names[0]) for section in sections)
    return texts("picture.overview", blocks=counted_blocks(count, texts), stages=stages)


def _shapes(before: tree.Shape, section: Section, texts: Texts) -> str:
    counts = {"parameters": f"{section.parameters:,}", "macs": f"{section.macs:,}"}
    return texts("picture.costs", before=size_text(before), after=size_text(section.output_shape), **counts)


def _times(block: Block) -> str:
    return f" × {len(block.names)}" if len(block.names) > 1 else ""


# A stage.


def _stage(section: Section, texts: Texts) -> str:
    width, middle, parts = 230, 74, [svg.text(6, 66, texts("picture.in"), "small start")]
    x = 46.0
    parts.append(svg.arrow(8, x, middle))
    for block in section.blocks:
        name = block_name(section, block)
        inside = "".join(
            svg.box(x + 5 * n, 52 - 5 * n, width - 60, 54, "block") for n in reversed(range(min(len(block.names), 4)))
        )
        center = x + (width - 60) / 2
        inside += svg.text(center, 75, f"{names_text(block.names)}{_times(block)}", "name")
        inside += svg.text(center, 93, svg.fit(_kernels(block), 30), "small")
        label = texts("picture.output", shape=size_text(block.output_shape))
        if block.shortcut is not None:
            inside += svg.over(x - 14, x + width - 42, middle, 14)
            said = ", ".join(layer_label(layer) for layer in block.shortcut) or texts("picture.identity")
            inside += svg.text(center, 9, svg.fit(said, 34), "small")
            label = texts("picture.with_shortcut", shape=size_text(block.output_shape))
        keys = ["block"], _block_keys(block, name)[1:]
        parts.append(svg.link(name, label, keys, inside))
        parts.append(svg.arrow(x + width - 60, x + width, middle))
        parts.append(svg.text(center, 126, size_text(block.output_shape), "small"))
        x += width
    parts.append(svg.text(x + 14, 78, texts("picture.out"), "small"))
    return svg.drawing(x + 34, 134, section.name, parts)


def _kernels(block: Block) -> str:
    """3×3, 3×3 for a basic block."""
    convs = [layer.leaf for layer in block.body if isinstance(layer.leaf, tree.Conv)]
    return ", ".join(f"{conv.kernel[0]}×{conv.kernel[1]}" for conv in convs)


# A block, or a row of layers.


def _chain(section: Section, layers: Sequence[Layer], texts: Texts) -> str:
    parts, x = _layers(layers, section.name, 46.0, FLAT, texts)
    return svg.drawing(x + 40, FLAT + 62, section.name, [*_ends(x, FLAT), *parts])


def _block(block: Block, name: str, texts: Texts) -> str:
    row = ROW if block.shortcut is not None else FLAT
    parts, x = _layers(block.body, name, 46.0, row, texts)
    starts = list(_starts(block.body, 46.0))
    if block.shortcut is not None:
        start = starts[block.reads] - GAP / 2 - 4 if block.reads < len(starts) else x - GAP / 2
        parts.append(_sum(x, row, texts))
        parts.append(_shortcut(block, name, (start, x + 14), row, texts))
        parts.append(svg.arrow(x + 28, x + 28 + GAP, row))
        x += 28 + GAP
    more, x = _layers(block.post, name, x, row, texts)
    return svg.drawing(x + 40, row + 62, name, [*_ends(x, row), *parts, *more])


def _ends(x: float, row: float) -> list[str]:
    return [
        svg.text(6, row - 8, "x", "small start"),
        svg.arrow(6, 46, row),
        svg.text(x + 8, row - 8, "y", "small start"),
    ]


def _starts(layers: Sequence[Layer], x: float) -> Iterator[float]:
    for _ in layers:
        yield x
        x += LAYER + GAP


def _layers(layers: Sequence[Layer], name: str, x: float, row: float, texts: Texts) -> tuple[list[str], float]:
    parts, gate_start = [], 0.0
    for number, layer in enumerate(layers):
        parts.append(_layer(layer, name, x, row, texts))
        gates = [layer_keys(found, name)[0][0].startswith("gate.") for found in layers[number : number + 2]]
        gate_start = gate_start if gates[0] and gate_start else x - GAP / 2
        x += LAYER
        if gates[0] and (len(gates) == 1 or not gates[1]):
            keys: tuple[list[str], list[str]] = (["gate", *layer_keys(layer, name)[1][:1]], [])
            circle = f'<circle cx="{x + GAP + 10:g}" cy="{row:g}" r="10"/>' + svg.text(
                x + GAP + 10, row + 5, "×", "label"
            )
            parts.append(_product(gate_start, x, x + GAP + 10, row))
            parts.append(svg.link("kind.Gate", texts("picture.product"), keys, circle))
            x += GAP + 20
        gate_start = gate_start if gates[0] else 0.0
        parts.append(svg.arrow(x, x + GAP, row))
        x += GAP
    return parts, x


def _product(start: float, before: float, center: float, row: float) -> str:
    """The ways to where the map, from before the gate, is multiplied by what the gate gives."""
    way = f'<path class="gate-wire" d="M{start:g} {row:g}V{row + 50:g}H{center:g}V{row + 16:g}"/>'
    head = f'<path class="head" d="M{center:g} {row + 10:g}l-4 7h8z"/>'
    return way + head + svg.arrow(before, center - 10, row)


def _layer(layer: Layer, name: str, x: float, row: float, texts: Texts) -> str:
    tail, center = layer.path[len(name) + 1 :], x + LAYER / 2
    gate = " gate" if "." in tail and not tail.startswith("shortcut.") else ""
    inside = svg.box(x, row - BOX / 2, LAYER, BOX, f"k-{color(layer.leaf)}{gate}")
    inside += svg.text(center, row + 14, tail, "small") + svg.text(
        center, row - 3, svg.fit(layer_label(layer), 18), "label"
    )
    label = texts("picture.output", shape=size_text(layer.output_shape))
    size = svg.text(center, row + 42, size_text(layer.output_shape), "small")
    return svg.link(layer.path, label, layer_keys(layer, name), inside) + size


def _sum(x: float, row: float, texts: Texts) -> str:
    circle = f'<circle cx="{x + 14:g}" cy="{row:g}" r="13" class="sum"/>' + svg.text(x + 14, row + 6, "+", "plus")
    return svg.link("kind.Residual", texts("picture.sum"), (["block.add"], ["block.shortcut"]), circle)


def _shortcut(block: Block, name: str, ends: tuple[float, float], row: float, texts: Texts) -> str:
    """The way around the body; its layers stand on it."""
    start, end = ends
    line = svg.over(start, end, row - 13, TOP + 4).replace(f"M{start:g} {row - 13:g}", f"M{start:g} {row:g}")
    if not block.shortcut:
        text = svg.text((start + end) / 2, TOP - 4, texts("picture.identity_line"), "label")
        return svg.link(name, texts("picture.shortcut"), (["block.shortcut", "block.add"], []), line + text)
    parts = [svg.link(name, texts("picture.shortcut"), (["block.shortcut"], []), line)]
    width = len(block.shortcut) * (LAYER + GAP) - GAP
    x = max(start + 12, (start + end - width) / 2)
    for layer in block.shortcut:
        boxed = _layer(layer, name, x, TOP + 4, texts)
        parts.append(boxed[: boxed.index("</a>") + 4])
        x += LAYER + GAP
    return "".join(parts)


def _block_about(block: Block, before: tree.Shape, texts: Texts) -> str:
    parameters = sum(layer.parameters for layer in block.layers)
    macs = sum(layer.macs for layer in block.layers)
    key = "picture.costs_each" if len(block.names) > 1 else "picture.costs"
    shapes = {"before": size_text(before), "after": size_text(block.output_shape)}
    return texts(key, **shapes, parameters=f"{parameters:,}", macs=f"{macs:,}")
