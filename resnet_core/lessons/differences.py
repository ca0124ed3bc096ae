"""What separates the frameworks: each default, how every program here says the number instead, and the damage."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from resnet_core.lessons.columns import Column, Line


@dataclass(frozen=True, slots=True)
class Topic:
    """A difference: the frameworks of which it is said what each does if it is left alone, and the lines that say it.

    `words` finds those lines. What it is called, what each does and what goes wrong are texts (`topic.padding.title`,
    `topic.padding.torch`, `topic.padding.mistake`); what they say of numbers and padding, a test asks the frameworks.
    """

    key: str
    alone: tuple[str, ...]
    words: str


#: Frameworks of which it is said what they do by themselves.
_THREE, _ALL = ("torch", "keras", "flax"), ("torch", "keras", "flax", "numpy")

TOPICS = (
    Topic("padding", _THREE, r"(?<![.\w])padding\b(?!\))|ZeroPadding2D|np\.pad\(x, \(\(0, 0\), \(padding"),
    Topic("pool", _THREE, r"MaxPool\w*\(|max_pool\(|same_pool|inf\b|windows"),
    Topic("epsilon", _THREE, r"\beps(ilon)?=|running_var\"\] \+|\+ 1e-"),
    Topic("momentum", _THREE, r"\bmomentum=|Momentum weighs"),
    Topic("variance", _THREE, r"running variance|[Ff]ast.variance"),
    Topic("layout", _ALL, r"transpose\(|\(out, in|Images \(batch|bhwcij"),
    Topic("flip", _ALL, r"einsum\("),
    Topic("stride", _THREE, r"conv2\b.*stride|conv1\b.*stride"),
    Topic("gelu", _THREE, r"gelu|GELU|erf"),
    Topic("channels", (), r"margin"),
    Topic("dilation", (), r"dilation"),
    Topic("standardization", (), r"tandardiz"),
    Topic("projection", (), r"shortcut.*\by\b|shortcut_conv|shortcut\.conv"),
    Topic("relu", (), r"relu\(y \+|maximum\(y \+|_relu\d"),
)

#: Rows in which the network itself is said.
_ROWS = ("imports", "run", "training", "initial")


def lines_of(topic: Topic, column: Column) -> list[Line]:
    """The lines of a program that say this, but for what is imported, run or trained."""
    found = (line for piece in column.pieces if piece.row not in _ROWS for line in piece.lines)
    return [line for line in found if re.search(topic.words, line.text)]


def marked(topics: Sequence[Topic], column: Column) -> dict[int, str]:
    """{line: the topics that it says}."""
    found: dict[int, list[str]] = {}
    for topic in topics:
        for line in lines_of(topic, column):
            found.setdefault(line.number, []).append(topic.key)
    return {number: " ".join(keys) for number, keys in found.items()}
