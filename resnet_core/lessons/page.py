"""The lesson as one HTML file: its texts, its pictures and its programs, with style and script inside."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from math import log10
from string import Template

from resnet_core import tree
from resnet_core.analysis import Totals
from resnet_core.lessons.coloring import colored_lines
from resnet_core.lessons.columns import Column, Piece, rows
from resnet_core.lessons.damage import PICTURES, Damage, Measurement
from resnet_core.lessons.differences import TOPICS, Topic, lines_of, marked
from resnet_core.lessons.formulas import FORMULAS, FUNCTIONS, idea
from resnet_core.lessons.picture import block_name, color, layer_keys, size_text, views
from resnet_core.lessons.tables import chart, shape_table
from resnet_core.presentation.folding import Section
from resnet_core.specification import ResNetSpec
from resnet_core.tree import Leaf, Shape
from resnet_core.version import __version__

#: What the columns are called, in their order.
FRAMEWORKS = {"torch": "PyTorch", "keras": "Keras", "flax": "Flax (NNX)", "numpy": "NumPy"}

#: What the rows are called, and what is in them.
_ROWS = {
    "imports": ("Imports", "what the program needs"),
    "initial": ("Initial values", "which the framework does not have by that name"),
    "helpers": ("Functions and layers", "which the framework does not have"),
    "gate": ("Gate", "a factor for each channel"),
    "block": ("Block", "written once, however often it is used"),
    "stage": ("Stage", "a loop over the blocks"),
    "network": ("Network", "begins"),
    "stem": ("Stem", "from pixels to a first map"),
    "stages": ("Stages", "with their numbers"),
    "head": ("Head", "from the last map to the output"),
    "forward": ("Forward pass", "in the order of computation"),
    "weights": ("Weights", "read from a neutral file"),
    "training": ("Training step", "as the recipe has it"),
    "run": ("Run it", "shapes, and a count that is checked"),
}

#: Why a program has nothing in a row.
_NOTHING = {
    ("torch", "weights"): "load_state_dict reads a neutral file as it is: the first lines say how.",
    ("keras", "forward"): "Layers are called where they are made: the rows above.",
    ("numpy", "forward"): "Computed as it stands in the rows above.",
    ("numpy", "training"): "The NumPy program is for inference only.",
}


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
        rows="\n".join(_rows(content.columns, [topic for topic in _topics(content) if topic.alone])),
        differences="\n".join(_differences(content)),
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


def _rows(columns: Sequence[Column], topics: Sequence[Topic]) -> Iterator[str]:
    there = [column for column in columns if not column.missing]
    html = {column.backend: colored_lines(column.text) for column in there}
    diffs = {column.backend: marked(topics, column) for column in there}
    for column in columns:
        if column.missing:
            name = FRAMEWORKS[column.backend]
            yield f'<p class="hint">No program in {name}: {escape(column.missing)}</p>'
    seen: dict[str, int] = {}
    first = {column.backend: column.pieces[0] for column in there}
    for row, pieces in rows(there):
        seen[row] = seen.get(row, 0) + 1
        number = f"-{seen[row]}" if seen[row] > 1 else ""
        title, about = _row_title(row)
        lines = [(c, line) for c, piece in zip(there, pieces, strict=True) if piece for line in piece.lines]
        same = "" if any(line.number in diffs[c.backend] for c, line in lines) else " same"
        yield f'<section class="row{same}" id="row-{row}{number}" aria-label="{escape(title)}">'
        yield f'<h3>{escape(title)} <small>{escape(about)}</small></h3><div class="cells">'
        for column, piece in zip(there, pieces, strict=True):
            name = column.backend
            stop = piece is not None and piece is first[name]
            yield _cell(name, row, piece, html[name], diffs[name], stop)
        yield "</div></section>"


def _row_title(row: str) -> tuple[str, str]:
    if row.startswith("kind."):
        kinds = {kind.__name__: text[0] for kind, text in FORMULAS.items()}
        return kinds[row.removeprefix("kind.")], "what all of them share is said once"
    return _ROWS[row]


def _cell(
    backend: str, row: str, piece: Piece | None, html: Sequence[str], diffs: Mapping[int, str], stop: bool
) -> str:
    name = FRAMEWORKS[backend]
    if piece is None:
        why = _NOTHING.get((backend, row), "Nothing of its own here.")
        return f'<div class="cell empty" data-backend="{backend}"><h4>{name}</h4><p>{escape(why)}</p></div>'
    lines, last = [], max((line.number for line in piece.lines if line.text.strip()), default=0)
    for line in piece.lines:
        said = (
            f' data-own="{escape(" ".join(line.own))}" data-rel="{escape(" ".join(line.related))}"' if line.own else ""
        )
        said += f' data-diff="{diffs[line.number]}"' if line.number in diffs else ""
        place = f' id="{backend}-{line.number}" data-n="{line.number}"'
        kind = "l" if line.number <= last else "l end"
        lines.append(f'<span class="{kind}"{place}{said}>{html[line.number - 1]}</span>')
    plain = "" if any(line.number in diffs for line in piece.lines) else " plain"
    reach = f' tabindex="0" role="group" aria-label="{name}: arrow keys walk through the lines"' if stop else ""
    return (
        f'<div class="cell{plain}" data-backend="{backend}"><h4>{name}</h4>'
        f'<pre data-column="{backend}"{reach}><code>{"".join(lines)}</code></pre></div>'
    )


# Differences.


def _differences(content: Content) -> Iterator[str]:
    found = content.measurement
    if found is None:
        yield f"<p>Nothing was measured: {escape(content.unmeasured)}</p>"
    else:
        network = found.network
        depths, widths = (", ".join(map(str, numbers)) for numbers in (network.depths, network.channels))
        yield (
            "<p>Each mistake was made once, on purpose, when this page was written: in a narrow network of the same "
            f"kind (depths {depths}; channels {widths}; pictures of {size_text(network.input_size)}), computed by the "
            f"NumPy reference in float64 on {PICTURES} pictures of random numbers, with random weights that are "
            "nowhere 0 or 1. The error is max|a − b| / max|b| of the output; bars are on a logarithmic scale from "
            "10⁻⁶ to 10. A trained network in full size errs by another amount.</p>"
        )
    columns = [column for column in content.columns if not column.missing]
    topics = _topics(content)
    for title, group in (
        ("", [topic for topic in topics if topic.alone]),
        ("Also easily lost on the way", [topic for topic in topics if not topic.alone]),
    ):
        if group:
            yield f"<h3>{title}</h3>" if title else ""
            damages = {} if found is None else found.damages
            cards = (_topic(topic, damages.get(topic.key), columns) for topic in group)
            yield f'<div class="topics">{"".join(cards)}</div>'


def _topics(content: Content) -> list[Topic]:
    """What can go wrong in this network; unmeasured, what separates frameworks in any."""
    found = content.measurement
    return [topic for topic in TOPICS if (topic.alone if found is None else topic.key in found.damages)]


def _topic(topic: Topic, damage: Damage | None, columns: Sequence[Column]) -> str:
    body = []
    for column in columns:
        alone = topic.alone.get(column.backend, "")
        quotes = [
            f'<a href="#{column.backend}-{line.number}"><code>{line.number}: {escape(line.text.strip())}</code></a>'
            for line in lines_of(topic, column)[:3]
        ]
        if alone or quotes:
            said = f"<span>left alone: {escape(alone)}</span>" if alone else ""
            body.append(f"<tr><th scope=row>{FRAMEWORKS[column.backend]}<td>{said}{''.join(quotes)}</tr>")
    table = f"<table>{''.join(body)}</table>" if body else ""
    measured = "" if damage is None else _damage(damage)
    mistake = f"<p><strong>The mistake:</strong> {escape(topic.mistake)}</p>"
    title = f"<h3>{escape(topic.title)}</h3>"
    return f'<article class="topic" id="topic-{topic.key}">{title}{table}{mistake}{measured}</article>'


def _damage(damage: Damage) -> str:
    share = 0.0 if damage.error <= 0 else min(1.0, max(0.01, (log10(damage.error) + 6) / 7))
    bar = (
        '<svg viewBox="0 0 200 12" preserveAspectRatio="none" aria-hidden="true"><rect class="scale" width="200" '
        f'height="12"/><rect class="amount" width="{200 * share:.1f}" height="12"/></svg>'
    )
    classes = (
        f"<span>the most likely class changes on {damage.changed} of {PICTURES} pictures</span>"
        if damage.changed is not None
        else ""
    )
    return f'<div class="damage">{bar}<strong>{error_text(damage.error)}</strong>{classes}</div>'


def error_text(error: float) -> str:
    """0.33 %, 47 %, 4.2 times."""
    if error >= 2:
        return f"{error:.2g} times the output"
    return f"{100 * error:.2g} %" if error else "no change"


# Formulas and proof.


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
