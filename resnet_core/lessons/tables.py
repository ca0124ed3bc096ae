"""The shape table, and parameters and multiply-accumulates of each part as bars."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from math import prod

from resnet_core.analysis import Layer, Totals
from resnet_core.lessons.picture import block_name, color, counted_blocks, layer_keys, size_text
from resnet_core.lessons.texts import Texts
from resnet_core.presentation.folding import Block, Section, names_text
from resnet_core.presentation.layer_text import kind_text
from resnet_core.tree import Conv, DropPath, Leaf, Linear, Shape


def shape_table(sections: Sequence[Section], image: Shape, totals: Totals, texts: Texts) -> str:
    """Every layer of every kind of block; a block that is repeated stands once."""
    columns = ("layer", "kind", "output", "parameters", "macs_short")
    names = [escape(texts(f"table.{name}")) for name in columns]
    head = f"<tr><th>{names[0]}<th>{names[1]}{''.join(f'<th class=r>{name}' for name in names[2:])}</tr>"
    first = f"<th scope=row>{escape(texts('picture.input'))}<td><td class=r>{size_text(image)}<td class=r><td class=r>"
    body = [f"<tbody><tr>{first}</tr></tbody>"]
    for section in sections:
        body.append(f"<tbody>{''.join(_section(section, texts))}</tbody>")
    end = (
        f"<tfoot><tr><th scope=row>{escape(texts('table.total'))}<td><td class=r>{size_text(totals.output_shape)}"
        f"<td class=r>{totals.parameters:,}<td class=r>{totals.macs:,}</tr></tfoot>"
    )
    return f"<table class=shapes><thead>{head}</thead>{''.join(body)}{end}</table>"


def _section(section: Section, texts: Texts) -> Iterator[str]:
    count = sum(len(block.names) for block in section.blocks if block.names[0])
    kind = counted_blocks(count, texts)
    yield (
        f'<tr class=part><th scope=row><a href="#{escape(section.name)}">{escape(section.name)}</a><td>{kind}'
        f"<td class=r>{size_text(section.output_shape)}"
        f"<td class=r>{section.parameters:,}<td class=r>{section.macs:,}</tr>"
    )
    for block in section.blocks:
        name = block_name(section, block)
        if count:
            yield _block_row(block, name, texts)
        for layer in block.body:
            yield _layer_row(layer, name, count > 0, texts)
        for layer in block.shortcut or ():
            yield _layer_row(layer, name, True, texts)
        if block.shortcut is not None:
            said = escape(texts("table.shortcut_and_body" if block.shortcut else "table.identity_and_body"))
            yield f"<tr><th scope=row class=deep>+<td>{said}<td class=r><td class=r><td class=r></tr>"
        for layer in block.post:
            yield _layer_row(layer, name, count > 0, texts)


def _block_row(block: Block, name: str, texts: Texts) -> str:
    alike = escape(texts("table.alike", count=len(block.names))) if len(block.names) > 1 else ""
    parameters = sum(layer.parameters for layer in block.layers)
    macs = sum(layer.macs for layer in block.layers)
    return (
        f'<tr class=block><th scope=row><a href="#{escape(name)}">{escape(names_text(block.names))}</a><td>{alike}'
        f"<td class=r>{size_text(block.output_shape)}<td class=r>{parameters:,}<td class=r>{macs:,}</tr>"
    )


def _layer_row(layer: Layer, name: str, deep: bool, texts: Texts) -> str:
    own, related = (escape(" ".join(keys)) for keys in layer_keys(layer, name))
    kind, tail = type(layer.leaf).__name__, escape(layer.path[len(name) + 1 :]).replace(".", ".<wbr>")
    facts = f'data-kind="{kind}" data-in="{size_text(layer.input_shape)}" data-how="{escape(_how(layer, texts))}"'
    counts = "".join(f"<td class=r>{count:,}" if count else "<td class=r>" for count in (layer.parameters, layer.macs))
    return (
        f'<tr class=layer id="{escape(layer.path)}" data-layer="{escape(layer.path)}" data-own="{own}" '
        f'data-rel="{related}" {facts}>'
        f'<th scope=row class={"deep" if deep else "flat"}><i class="dot k-{color(layer.leaf)}"></i>'
        f'<a href="#{escape(layer.path)}">{tail}</a><td>{escape(_kind(layer.leaf))}'
        f"<td class=r>{size_text(layer.output_shape)}{counts}</tr>"
    )


def _kind(leaf: Leaf) -> str:
    """In a few words; without the rate of a block that is dropped, since folded blocks have one each."""
    return "DropPath" if isinstance(leaf, DropPath) else kind_text(leaf, settings=False)


def _how(layer: Layer, texts: Texts) -> str:
    """How parameters and multiply-accumulates are counted, as products."""
    shapes = [tensor.shape for tensor in layer.leaf.tensors().values() if tensor.role != "statistic"]
    products = [" × ".join(map(str, shape)) for shape in shapes]
    named = f"{texts('table.parameters')}: {' + '.join(products)} = {layer.parameters:,}"
    parts = [named] if layer.parameters else []
    leaf = layer.leaf
    if isinstance(leaf, Conv):
        places = [*layer.output_shape, *leaf.kernel, leaf.in_channels // leaf.groups]
    elif isinstance(leaf, Linear):
        places = [prod(layer.output_shape[:-1]), leaf.in_features, leaf.out_features]
        places = places[1:] if places[0] == 1 else places
    else:
        places = []
    if places:
        parts.append(f"{texts('table.macs')}: {' × '.join(map(str, places))} = {layer.macs:,}")
    return "; ".join(parts)


def chart(sections: Sequence[Section], texts: Texts) -> str:
    """Bars of each part's parameters and multiply-accumulates, each with its share of the whole."""
    names = [section.name for section in sections]
    parameters, macs = [section.parameters for section in sections], [section.macs for section in sections]
    bars = _bars(texts("table.parameters"), names, parameters, "bar-a")
    bars += _bars(texts("table.macs"), names, macs, "bar-b")
    return f'<div class="charts">{bars}</div>'


def _bars(title: str, names: Sequence[str], counts: Sequence[int], kind: str) -> str:
    most, whole = max(1, *counts), max(1, sum(counts))
    parts = [f'<text x="0" y="16" class="small start">{title}</text>']
    for number, (name, count) in enumerate(zip(names, counts, strict=True)):
        y, width = 28 + 32 * number, max(170 * count / most, 1)
        text = f"{_short(count)} · {_percent(count / whole)}"
        parts.append(f'<text x="0" y="{y + 16}" class="name start">{escape(name)}</text>')
        parts.append(f'<rect x="74" y="{y}" width="{width:.1f}" height="22" rx="3" class="{kind}"/>')
        parts.append(f'<text x="{80 + width:.1f}" y="{y + 16}" class="small start">{text}</text>')
    said = "; ".join(f"{name} {count:,}" for name, count in zip(names, counts, strict=True))
    return (
        f'<svg viewBox="0 0 350 {28 + 32 * len(names)}" class="chart" role="img" '
        f'aria-label="{title}: {escape(said)}">{"".join(parts)}</svg>'
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 or share == 0 else "< 1 %"


def _short(value: int) -> str:
    """23.5 M, 4.09 G."""
    for unit, name in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= unit:
            return f"{value / unit:.3g} {name}"
    return str(value)
