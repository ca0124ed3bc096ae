"""The lesson as one HTML file: its texts, its pictures and its programs, with style and script inside."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from string import Template

from resnet_core import tree
from resnet_core.analysis import Totals
from resnet_core.lessons.columns import Column
from resnet_core.lessons.damage import Measurement
from resnet_core.lessons.formulas import FORMULAS, FUNCTIONS, idea
from resnet_core.lessons.mistakes import mistakes, topics_of
from resnet_core.lessons.picture import block_name, color, layer_keys, size_text, views
from resnet_core.lessons.program_rows import FRAMEWORKS, program_rows
from resnet_core.lessons.tables import chart, shape_table
from resnet_core.presentation.folding import Section
from resnet_core.specification import ResNetSpec
from resnet_core.tree import Leaf, Shape
from resnet_core.version import __version__


@dataclass(frozen=True, slots=True)
class Content:
    """Everything that a page shows. `measurement` is None where nothing was measured, and `unmeasured` says why."""

    spec: ResNetSpec
    sections: Sequence[Section]
    totals: Totals
    image: Shape
    columns: Sequence[Column]
    measurement: Measurement | None
    unmeasured: str = ""


def page(content: Content) -> str:
    """The whole file."""
    script = _file("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    spec = content.spec
    plain = not any(block.shortcut is not None for section in content.sections for block in section.blocks)
    return Template(_file("page.html")).substitute(
        name=escape(spec.name or "A network without a name"),
        summary=escape(_summary(content)),
        script=script,
        script_hash=f"sha256-{digest}",
        style=_file("page.css"),
        idea=idea(plain, spec.preactivation),
        views="\n".join(_views(content)),
        legend="".join(_legend(content)),
        choice="".join(_choice(content.columns)),
        note=escape(_note(content.columns)),
        rows="\n".join(
            program_rows(content.columns, [topic for topic in topics_of(content.measurement) if topic.alone])
        ),
        differences="\n".join(mistakes(content.columns, content.measurement, content.unmeasured)),
        chart=chart(content.sections),
        table=shape_table(content.sections, content.image, content.totals),
        formulas="".join(_formulas(content.sections, plain)),
        proof="\n".join(_proof(content)),
        version=escape(__version__),
    )


def _file(name: str) -> str:
    return (files("resnet_core.lessons") / name).read_text(encoding="utf-8")


def _summary(content: Content) -> str:
    spec, totals = content.spec, content.totals
    output = f"{spec.classes} classes" if spec.classes is not None else size_text(totals.output_shape)
    return (
        f"{size_text(content.image)} to {output}: {totals.parameters:,} parameters, {totals.macs:,} "
        "multiply-accumulates. One network, its picture and its programs; point at either."
    )


def _views(content: Content) -> Iterator[str]:
    for view in views(content.sections, content.image):
        yield (
            f'<div class="view" id="{escape(view.name)}" data-title="{escape(view.title)}" '
            f'data-above="{escape(view.above)}"><h3>{escape(view.title)}</h3><p class="about">{escape(view.about)}</p>'
            f'<div class="scroll">{view.svg}</div></div>'
        )


def _kinds(sections: Sequence[Section]) -> dict[type[Leaf], Leaf]:
    """Kinds of layers in the order of their first use, with a layer of each."""
    found: dict[type[Leaf], Leaf] = {}
    for section in sections:
        for block in section.blocks:
            for layer in block.layers:
                found.setdefault(type(layer.leaf), layer.leaf)
    return found


def _legend(content: Content) -> Iterator[str]:
    for kind, leaf in _kinds(content.sections).items():
        key = f"kind.{kind.__name__}"
        dot = f'<i class="dot k-{color(leaf)}"></i>'
        yield f'<a class="el" href="#{key}" data-own="{key}" data-rel="">{dot}{escape(FORMULAS[kind][0])}</a>'
    said = {
        key: piece.row
        for column in content.columns
        for piece in reversed(column.pieces)
        for line in piece.lines
        for key in line.own
    }
    for key, text in (
        ("imports", "imports"), ("helpers", "own functions"), ("stage", "loop over blocks"),
        ("weights", "weights"), ("training", "training step"), ("run", "run it"),
    ):  # fmt: skip
        if key in said:
            yield f'<a class="el" href="#row-{said[key]}" data-own="{key}" data-rel="">{text}</a>'


def _choice(columns: Sequence[Column]) -> Iterator[str]:
    for column in columns:
        yield (
            f'<button type="button" data-backend="{column.backend}" aria-pressed="false">'
            f"{FRAMEWORKS[column.backend]}</button>"
        )


def _note(columns: Sequence[Column]) -> str:
    counts = ", ".join(f"{FRAMEWORKS[c.backend]} {len(c.lines)}" for c in columns if not c.missing)
    return f"Lines: {counts}." if counts else ""


def _formulas(sections: Sequence[Section], plain: bool) -> Iterator[str]:
    kinds: list[type[tree.Node]] = list(_kinds(sections))
    gates = any(key[0].startswith("gate.") for key in _layer_places(sections))
    for kind in [*kinds, *([tree.Gate] if gates else []), *([] if plain else [tree.Residual])]:
        name, sentence, formula = FORMULAS[kind]
        key = f"kind.{kind.__name__}"
        if kind is tree.Activation:
            formula = "".join(FUNCTIONS[function] for function in _functions(sections))
        yield f'<article id="{key}"><h3>{escape(name)}</h3><div><p>{escape(sentence)}</p>{formula}</div></article>'


def _layer_places(sections: Sequence[Section]) -> Iterator[list[str]]:
    """What each layer has as its own places."""
    for section in sections:
        for block in section.blocks:
            yield from (layer_keys(layer, block_name(section, block))[0] for layer in block.layers)


def _functions(sections: Sequence[Section]) -> list[str]:
    """The functions of all activations, each once."""
    layers = (layer.leaf for section in sections for block in section.blocks for layer in block.layers)
    return list(dict.fromkeys(leaf.function for leaf in layers if isinstance(leaf, tree.Activation)))


def _proof(content: Content) -> Iterator[str]:
    yield (
        "<p>Every line of code here is a line that <code>resnet source</code> prints for this network; the columns "
        "were taken apart, and nothing was typed again. Their SHA-256 is that of the printed files:</p>"
    )
    yield '<table class="proof"><tbody>'
    for column in content.columns:
        if not column.missing:
            yield (
                f"<tr><th scope=row>{FRAMEWORKS[column.backend]}<td><code>{column.digest}</code>"
                f'<td data-sum="{column.backend}" data-digest="{column.digest}"></tr>'
            )
    yield "</tbody></table>"
    yield (
        "<p>That these programs compute the same numbers is what <code>resnet compare</code> checks, forward, "
        "backward and in training, against a NumPy reference in float64. Shapes, parameters and multiply-accumulates "
        "are computed from the layer tree, without any framework. Curves of plain and residual networks in training "
        "are not shown: none were recorded for this page.</p>"
    )
