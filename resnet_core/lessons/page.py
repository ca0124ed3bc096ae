"""The lesson as one HTML file: its texts, its pictures and its programs, with style and script inside."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from string import Template

from resnet_core import tree
from resnet_core.analysis import Totals
from resnet_core.lessons.columns import Column
from resnet_core.lessons.damage import Measurement
from resnet_core.lessons.degradation import degradation_part
from resnet_core.lessons.documentation import PAGES
from resnet_core.lessons.exercise import exercise_part
from resnet_core.lessons.formulas import FORMULAS, FUNCTIONS, idea
from resnet_core.lessons.live import Live
from resnet_core.lessons.live_page import live_part, live_texts
from resnet_core.lessons.mistakes import mistakes, topics_of
from resnet_core.lessons.picture import block_name, color, layer_keys, size_text, views
from resnet_core.lessons.program_rows import FRAMEWORKS, program_rows
from resnet_core.lessons.results import ComparisonFile, parity_part, runs_part
from resnet_core.lessons.tables import chart, shape_table
from resnet_core.lessons.texts import Texts
from resnet_core.presentation.folding import Section
from resnet_core.specification import ResNetSpec
from resnet_core.training.curves import RunCurves
from resnet_core.tree import Leaf, Shape
from resnet_core.version import __version__


@dataclass(frozen=True, slots=True)
class Content:
    """Everything that a page shows.

    `measurement` is None where nothing was measured, and `unmeasured` says why; so with `live`, what runs, and `still`.
    """

    spec: ResNetSpec
    sections: Sequence[Section]
    totals: Totals
    image: Shape
    columns: Sequence[Column]
    measurement: Measurement | None
    unmeasured: str = ""
    live: Live | None = None
    still: str = ""
    comparison: ComparisonFile | None = None
    runs: Sequence[RunCurves] = ()
    texts: Texts = field(default_factory=lambda: Texts("en"))


#: Headings and labels of the page.
TITLES = (
    "skip", "contents", "idea", "degradation", "programs", "hint", "where", "network", "legend", "choice", "only",
    "differences", "shapes", "costs", "table", "formulas", "exercise", "results", "proof",
)  # fmt: skip

#: What `lang` is for browsers, which choose characters by it.
LANGUAGE_TAGS = {"en": "en", "zh": "zh-Hans"}


def page(content: Content) -> str:
    """The whole file."""
    script = "".join(_file(name) for name in ("network.js", "live.js", "page.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    spec, texts = content.spec, content.texts
    plain = not any(block.shortcut is not None for section in content.sections for block in section.blocks)
    topics = [topic for topic in topics_of(spec, content.measurement) if topic.alone]
    name = spec.name or texts("page.nameless")
    titles = {f"title_{key}": texts.html(f"page.{key}") for key in TITLES}
    return Template(_file("page.html")).substitute(
        titles,
        language=LANGUAGE_TAGS[texts.language],
        name=escape(name),
        title=texts.html("page.title", name=escape(name)),
        summary=escape(_summary(content)),
        script=script,
        script_hash=f"sha256-{digest}",
        style=_file("page.css"),
        nothing=texts("script.same"),
        idea=idea(plain, spec.preactivation, texts),
        degradation="\n".join(degradation_part(texts)),
        views="\n".join(_views(content)),
        legend="".join(_legend(content)),
        choice="".join(_choice(content.columns)),
        note=escape(_note(content)),
        rows="\n".join(program_rows(content.columns, topics, texts)),
        differences="\n".join(mistakes(spec, content.columns, content.measurement, content.unmeasured, texts)),
        chart=chart(content.sections, texts),
        table=shape_table(content.sections, content.image, content.totals, texts),
        formulas="".join(_formulas(content.sections, plain, texts)),
        exercise="\n".join(exercise_part(spec, texts)),
        title_live=texts.html("live.title"),
        live="\n".join(_live(content)),
        results="\n".join([*parity_part(content.comparison, texts), *runs_part(content.runs, texts)]),
        data=_data(content),
        proof="\n".join(_proof(content)),
        footer=texts.html("page.footer", command="<code>resnet lesson</code>", version=escape(__version__)),
    )


def _file(name: str) -> str:
    return (files("resnet_core.lessons") / name).read_text(encoding="utf-8")


def _live(content: Content) -> Iterator[str]:
    if content.live is None:
        yield f"<p>{escape(content.still)}</p>"
    else:
        yield from live_part(content.live, content.texts)


def _data(content: Content) -> str:
    """What the script reads, as JSON that ends no element."""
    live, texts = content.live, content.texts
    found = {
        "live": None if live is None else {**live.to_json(), **live_texts(live, texts)},
        "texts": {
            **texts.group("script"),
            **{f"exercise.{key}": text for key, text in texts.group("exercise").items()},
        },
    }
    return json.dumps(found, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _summary(content: Content) -> str:
    spec, counts, texts = content.spec, content.totals, content.texts
    output = size_text(counts.output_shape)
    if spec.classes is not None:
        output = texts("page.classes", count=spec.classes)
    numbers = {"parameters": f"{counts.parameters:,}", "macs": f"{counts.macs:,}"}
    return texts("page.summary", image=size_text(content.image), output=output, **numbers)


def _views(content: Content) -> Iterator[str]:
    for view in views(content.sections, content.image, content.texts):
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
        yield f'<a class="el" href="#{key}" data-own="{key}" data-rel="">{dot}{content.texts.html(f"{key}.name")}</a>'
    said = {
        key: piece.row
        for column in content.columns
        for piece in reversed(column.pieces)
        for line in piece.lines
        for key in line.own
    }
    for key in ("imports", "helpers", "stage", "weights", "training", "run"):
        if key in said:
            text = content.texts.html(f"legend.{key}")
            yield f'<a class="el" href="#row-{said[key]}" data-own="{key}" data-rel="">{text}</a>'


def _choice(columns: Sequence[Column]) -> Iterator[str]:
    for column in columns:
        yield (
            f'<button type="button" data-backend="{column.backend}" aria-pressed="false">'
            f"{FRAMEWORKS[column.backend]}</button>"
        )


def _note(content: Content) -> str:
    counts = ", ".join(f"{FRAMEWORKS[c.backend]} {len(c.lines)}" for c in content.columns if not c.missing)
    return content.texts("page.lines", counts=counts) if counts else ""


def _formulas(sections: Sequence[Section], plain: bool, texts: Texts) -> Iterator[str]:
    kinds: list[type[tree.Node]] = list(_kinds(sections))
    gates = any(key[0].startswith("gate.") for key in _layer_places(sections))
    for kind in [*kinds, *([tree.Gate] if gates else []), *([] if plain else [tree.Residual])]:
        key, formula = f"kind.{kind.__name__}", FORMULAS[kind]
        if kind is tree.Activation:
            formula = "".join(FUNCTIONS[function] for function in _functions(sections))
        name, sentence = texts.html(f"{key}.name"), texts.html(f"{key}.about")
        yield f'<article id="{key}"><h3>{name}</h3><div><p>{sentence}</p>{formula}{_pages(kind, texts)}</div></article>'


def _pages(kind: type[tree.Node], texts: Texts) -> str:
    """Links to each framework's own documentation of a kind of layer."""
    links = ", ".join(
        f'<a href="{address}" rel="noreferrer">{FRAMEWORKS[backend]} {name}</a>'
        for backend, (name, address) in PAGES.get(kind, {}).items()
    )
    return f'<p class="note">{texts.html("layers.documentation")} {links}</p>' if links else ""


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
    texts = content.texts
    yield f"<p>{texts.html('proof.lines', command='<code>resnet source</code>')}</p>"
    yield '<table class="proof"><tbody>'
    for column in content.columns:
        if not column.missing:
            yield (
                f"<tr><th scope=row>{FRAMEWORKS[column.backend]}<td><code>{column.digest}</code>"
                f'<td data-sum="{column.backend}" data-digest="{column.digest}"></tr>'
            )
    yield "</tbody></table>"
    yield f"<p>{texts.html('proof.equal', command='<code>resnet compare</code>')}</p>"
