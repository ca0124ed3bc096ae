"""A difference as a page of its own: no script, no other file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from resnet_core.difference.alignment import Line, Row, changed_words, hunks
from resnet_core.difference.difference import Difference
from resnet_core.version import __version__


def page(found: Difference) -> str:
    """HTML, complete: tables of what differs, and the two programs side by side."""
    template = Template((files("resnet_core.difference") / "page.html").read_text(encoding="utf-8"))
    summary = "The same network: every layer and every tensor." if found.same_network else "Two different networks."
    return template.substitute(
        left=escape(found.left),
        right=escape(found.right),
        summary=summary,
        facts="\n".join(_facts(found)),
        programs="\n".join(_programs(found)),
        version=__version__,
    )


def value_text(value: Any) -> str:
    """A value of a change as people read it: 25,557,032, 64 x 3 x 7 x 7, a dash for None."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, tuple):
        return " x ".join(map(str, value))
    if isinstance(value, list):
        return ", ".join(map(value_text, value)) or "none"
    return str(value)


def _facts(found: Difference) -> Iterator[str]:
    if found.fields:
        rows = [(change.path, change.left, change.right) for change in found.fields]
        yield from _table("Fields of the spec", found, rows)
    counts = [(change.path, change.left, change.right) for change in found.counts]
    yield from _table("Counts", found, counts, "numbers")
    if found.layers:
        layers = [(change.where, change.left, change.right) for change in found.layers]
        yield from _table("Layers", found, layers)
    if found.tensors:
        tensors = [(change.path, change.left, change.right) for change in found.tensors]
        summary = f"<summary>{escape(found.tensor_sentence())}</summary>"
        yield "<h2>Tensors</h2>"
        yield from (f"<details>{summary}", *_table("", found, tensors, "numbers"), "</details>")


def _table(title: str, found: Difference, rows: Sequence[tuple[str, Any, Any]], kind: str = "") -> Iterator[str]:
    if title:
        yield f"<h2>{title}</h2>"
    yield f'<table class="facts {kind}"><thead><tr>'
    yield "".join(f"<th>{escape(text)}</th>" for text in ("", found.left, found.right)) + "</tr></thead><tbody>"
    for name, left, right in rows:
        cells = "".join(f"<td>{escape(value_text(value))}</td>" for value in (left, right))
        yield f"<tr><th>{escape(name)}</th>{cells}</tr>"
    yield "</tbody></table>"


def _programs(found: Difference) -> Iterator[str]:
    near = {id(row) for hunk in hunks(found.rows) for row in hunk}
    yield '<p><label><input type="checkbox" id="only"> only what differs</label></p>'
    yield '<table class="program"><colgroup><col class="number"><col><col class="number"><col></colgroup><thead><tr>'
    yield f'<th colspan="2">{escape(found.left)}</th><th colspan="2">{escape(found.right)}</th></tr></thead><tbody>'
    for row in found.rows:
        far = "" if id(row) in near else " far"
        yield f'<tr class="{row.kind}{far}">{"".join(_cells(row))}</tr>'
    yield "</tbody></table>"


def _cells(row: Row) -> Iterator[str]:
    texts = [escape(line.text) if line else "" for line in (row.left, row.right)]
    if row.kind == "changed" and row.left and row.right:
        texts = [
            "".join(f"<mark>{escape(piece)}</mark>" if changed else escape(piece) for piece, changed in pieces)
            for pieces in changed_words(row.left.text, row.right.text)
        ]
    for line, text, kind in zip((row.left, row.right), texts, ("removed", "added"), strict=True):
        yield f'<td class="number">{_number(line)}</td>'
        yield f'<td class="{"" if row.kind == "equal" or line is None else kind}">{text}</td>'


def _number(line: Line | None) -> str:
    return "" if line is None else str(line.number)
