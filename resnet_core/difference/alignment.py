"""Two programs side by side: definitions of one name beside each other, and within them the lines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Literal

#: Of a row: "equal", "changed" (both sides have a line), or only the "left" or the "right" side has one.
Kind = Literal["equal", "changed", "left", "right"]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a program, with its number from 1."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """What stands side by side."""

    kind: Kind
    left: Line | None
    right: Line | None


def align(left: str, right: str) -> list[Row]:
    """Every line of both programs, once each and in order, but for definitions that only the order separates.

    The definitions follow the left program's order; those that it lacks come where the right one has them.
    """
    left_parts, right_parts = _definitions(left), _definitions(right)
    rows: list[Row] = []
    matcher = SequenceMatcher(None, [name for name, _ in left_parts], [name for name, _ in right_parts], autojunk=False)
    for operation, i, j, k, m in matcher.get_opcodes():
        if operation == "equal":
            for (_, ours), (_, theirs) in zip(left_parts[i:j], right_parts[k:m], strict=True):
                rows += _definition(ours, theirs)
        else:
            rows += _lines(_joined(left_parts[i:j]), _joined(right_parts[k:m]))
    return rows


def hunks(rows: Sequence[Row], context: int = 3) -> Iterator[list[Row]]:
    """The rows that differ, with up to `context` equal ones around them; neighboring hunks are one."""
    shown = [False] * len(rows)
    for index, row in enumerate(rows):
        if row.kind != "equal":
            start, end = max(index - context, 0), min(index + context + 1, len(rows))
            shown[start:end] = [True] * (end - start)
    hunk: list[Row] = []
    for row, show in zip(rows, shown, strict=True):
        if show:
            hunk.append(row)
        elif hunk:
            yield hunk
            hunk = []
    if hunk:
        yield hunk


def changed_words(left: str, right: str) -> tuple[list[tuple[str, bool]], list[tuple[str, bool]]]:
    """Both texts in pieces: (piece, whether the other text lacks it). Texts that are not alike are not taken apart."""
    if _likeness(left, right) < LIKE:
        return [(left, False)], [(right, False)]
    ours, theirs = re.findall(r"\w+|\s+|[^\w\s]", left), re.findall(r"\w+|\s+|[^\w\s]", right)
    pieces: tuple[list[tuple[str, bool]], list[tuple[str, bool]]] = ([], [])
    for operation, i, j, k, m in SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes():
        for found, words in ((pieces[0], ours[i:j]), (pieces[1], theirs[k:m])):
            if words:
                found.append(("".join(words), operation != "equal"))
    return pieces


def _definitions(program: str) -> list[tuple[str, list[Line]]]:
    """(name, lines) of the head, each definition at the top level with its decorators, and what follows them.

    A class and a function of one name are one name: PreActBlock in PyTorch is pre_act_block in Keras.
    """
    parts: list[tuple[str, list[Line]]] = [("", [])]
    decorated = False
    for number, text in enumerate(program.splitlines(), start=1):
        line = Line(number, text)
        found = re.match(r"(?:class|def) (\w+)", text)
        if text.startswith("@") or text.startswith("if __name__"):
            parts.append((text, [line]))
            decorated = text.startswith("@")
        elif found and decorated:
            parts[-1] = (_plain(found[1]), [*parts[-1][1], line])
            decorated = False
        elif found:
            parts.append((_plain(found[1]), [line]))
        else:
            parts[-1][1].append(line)
    return parts


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _joined(parts: Sequence[tuple[str, list[Line]]]) -> list[Line]:
    return [line for _, lines in parts for line in lines]


def _definition(left: Sequence[Line], right: Sequence[Line]) -> Iterator[Row]:
    """Both first lines stand beside each other, whatever they say."""
    starts = [
        next((i for i, line in enumerate(part) if re.match("class |def ", line.text)), None) for part in (left, right)
    ]
    if (i := starts[0]) is None or (k := starts[1]) is None:
        yield from _lines(left, right)
        return
    yield from _lines(left[:i], right[:k])
    yield Row("equal" if left[i].text == right[k].text else "changed", left[i], right[k])
    yield from _lines(left[i + 1 :], right[k + 1 :])


def _lines(left: Sequence[Line], right: Sequence[Line]) -> Iterator[Row]:
    matcher = SequenceMatcher(None, [line.text for line in left], [line.text for line in right], autojunk=False)
    for operation, i, j, k, m in matcher.get_opcodes():
        if operation == "equal":
            for ours, theirs in zip(left[i:j], right[k:m], strict=True):
                yield Row("equal", ours, theirs)
        else:
            yield from _changed(left[i:j], right[k:m])


def _changed(left: Sequence[Line], right: Sequence[Line]) -> Iterator[Row]:
    """Two stretches without a line in common: the most alike lines beside each other, and the others in order."""
    likeness, i, k = max(
        ((_likeness(ours.text, theirs.text), -i, -k) for i, ours in enumerate(left) for k, theirs in enumerate(right)),
        default=(0.0, 0, 0),
    )
    if likeness >= LIKE:
        yield from _changed(left[:-i], right[:-k])
        yield Row("changed", left[-i], right[-k])
        yield from _changed(left[1 - i :], right[1 - k :])
        return
    for ours, theirs in zip_longest(left, right):
        yield Row("changed" if ours and theirs else "left" if ours else "right", ours, theirs)


#: From this share of common characters on, two lines are one line that was changed.
LIKE = 0.5


def _likeness(left: str, right: str) -> float:
    if not left.strip() or not right.strip():
        return 1.0 if left.strip() == right.strip() else 0.0
    return SequenceMatcher(None, left.strip(), right.strip(), autojunk=False).ratio()
