"""Pieces of SVG; lengths are pixels at the size that a picture is drawn for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape


def drawing(width: float, height: float, label: str, parts: Sequence[str]) -> str:
    """A picture, which may shrink a little before its frame scrolls."""
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" style="min-width:{min(width, 0.72 * width + 60):g}px;'
        f'max-width:{width * 1.25:g}px" role="group" aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )


def link(target: str, more: str, keys: tuple[Sequence[str], Sequence[str]], inside: str) -> str:
    """A box that leads on. Its name is the text that is seen in it, and `more`, for those who do not see the rest."""
    seen = re.findall(r"<text[^>]*>([^<]*)</text>", inside)
    label = " ".join(seen) + (", " if seen and more else "") + escape(more)
    inside = inside.replace("</text><", "</text> <")
    own, related = (escape(" ".join(found)) for found in keys)
    return (
        f'<a class="el" href="#{escape(target)}" aria-label="{label}" data-own="{own}" data-rel="{related}">'
        f"{inside}</a>"
    )


def text(x: float, y: float, text: str, kind: str = "") -> str:
    """A line of text, in the middle of `x` unless its kind says otherwise."""
    styled = f' class="{kind}"' if kind else ""
    return f'<text x="{x:g}" y="{y:g}"{styled}>{escape(text)}</text>'


def box(x: float, y: float, width: float, height: float, kind: str) -> str:
    """A box with round corners."""
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" class="{kind}"/>'


def arrow(x: float, end: float, y: float) -> str:
    """An arrow to the right."""
    return f'<path class="wire" d="M{x:g} {y:g}H{end - 5:g}"/>{head(end, y)}'


def head(x: float, y: float) -> str:
    """The head of an arrow to the right, its tip at this point."""
    return f'<path class="head" d="M{x:g} {y:g}l-7 -4v8z"/>'


def over(x: float, end: float, y: float, top: float) -> str:
    """A line from the row at `x` up, and down to the row at `end`."""
    return (
        f'<path class="skip" d="M{x:g} {y:g}V{top + 10:g}q0 -10 10 -10H{end - 10:g}q10 0 10 10V{y - 6:g}"/>'
        f'<path class="head skip" d="M{end:g} {y:g}l-4 -7h8z"/>'
    )


def fit(text: str, width: int) -> str:
    """The text, cut to so many characters."""
    return text if len(text) <= width else text[: width - 1] + "…"
