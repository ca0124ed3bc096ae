"""A program as a column of the lesson: its lines in pieces, each line with the places of the network that it says."""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from resnet_core import tree
from resnet_core.lessons.places import Place, block_places, gate_places, network_places, part_of, sides
from resnet_core.lessons.statements import Statement, statements
from resnet_core.outline import Outline


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a program, from 1; `own` is what it says, `related` what that belongs to."""

    number: int
    text: str
    own: tuple[str, ...] = ()
    related: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """Lines that follow each other, and the row in which they stand."""

    row: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """A program in pieces: their lines, joined, are its text. Without a program, `missing` says why."""

    backend: str
    text: str
    pieces: tuple[Piece, ...] = ()
    missing: str = ""

    @property
    def lines(self) -> list[Line]:
        """All lines in order."""
        return [line for piece in self.pieces for line in piece.lines]

    @property
    def digest(self) -> str:
        """SHA-256 of the text in UTF-8, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def column(backend: str, text: str, outline: Outline) -> Column:
    """The program's column."""
    return Column(backend, text, tuple(_Reader(text, outline).pieces()))


def rows(columns: Sequence[Column]) -> list[tuple[str, list[Piece | None]]]:
    """(row, each column's piece or None), so that every column reads down in its own order."""
    waiting = [list(found.pieces) for found in columns]
    result: list[tuple[str, list[Piece | None]]] = []
    while any(waiting):
        heads = [pieces[0].row for pieces in waiting if pieces]
        later = {piece.row for pieces in waiting for piece in pieces[1:]}
        free = [head for head in heads if head not in later]
        row = free[0] if free else heads[0]
        result.append((row, [pieces.pop(0) if pieces and pieces[0].row == row else None for pieces in waiting]))
    return result


@dataclass
class _Reader:
    text: str
    outline: Outline
    own: dict[int, tuple[str, ...]] = field(default_factory=dict)
    related: dict[int, tuple[str, ...]] = field(default_factory=dict)
    starts: list[tuple[int, str]] = field(default_factory=list)
    kinds: dict[str, str] = field(default_factory=dict)

    def pieces(self) -> list[Piece]:
        """Everything."""
        self.lines = self.text.split("\n")[:-1]
        self.starts.append((1, "imports"))
        defined = False
        for node in ast.parse(self.text).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.If):
                self._definition(node, defined)
                defined = True
        self._comments()
        ends = [start - 1 for start, _ in self.starts[1:]] + [len(self.lines)]
        pieces: list[Piece] = []
        for (start, row), end in zip(self.starts, ends, strict=True):
            found = tuple(self._line(number) for number in range(start, end + 1))
            if pieces and pieces[-1].row == row:
                pieces[-1] = Piece(row, (*pieces[-1].lines, *found))
            elif found:
                pieces.append(Piece(row, found))
        return pieces

    def _line(self, number: int) -> Line:
        text = self.lines[number - 1]
        head = ("weights",) if "load_state_dict" in text else ("imports",)
        own = self.own.get(number, () if self.starts[1:] and number >= self.starts[1][0] else head)
        return Line(number, text, own if text.strip() else (), self.related.get(number, ()) if text.strip() else ())

    def _definition(self, node: ast.stmt, defined: bool) -> None:
        name = _plain(getattr(node, "name", ""))
        found = statements(node, self.lines)
        row, keys = self._row(name, found, defined)
        self.starts.append((found[0].first, row))
        if row == "block":
            marks = self._marks(found, block_places(self.outline))
            marks = [_with_shortcut(s, keys) for s, keys in zip(found, marks, strict=True)]
            self._write(found, marks, "block")
        elif row == "gate":
            self._write(found, self._marks(found, gate_places(self.outline)), "gate")
        elif row == "network":
            self._network(found)
        else:
            self._write(found, [keys] * len(found), "")

    def _row(self, name: str, found: Sequence[Statement], defined: bool) -> tuple[str, tuple[str, ...]]:
        """The row of a definition, and what each of its lines says."""
        outline = self.outline
        known = {helper.name: helper.kind.__name__ for helper in outline.helpers}
        names = {"block": outline.block.name, "gate": outline.gate.name if outline.gate else "", "network": "ResNet"}
        for row, own in names.items():
            if own and name == _plain(own):
                return row, (row,)
        if name == "stage":
            return "stage", ("stage",)
        if name in known:
            return f"kind.{known[name]}", (f"kind.{known[name]}",)
        if name in ("read", "load"):
            return "weights", ("weights",)
        if not name:
            return "run", ("run",)
        if any(row == "network" for _, row in self.starts) or any(row == "head" for _, row in self.starts):
            return "training", ("training",)
        kinds = {step.kind for step in outline.steps() if issubclass(step.kind, tree.Leaf)}
        fits = [kind.__name__ for kind in kinds if _plain(kind.__name__) in name or name.startswith(_short(kind))]
        key = f"kind.{max(fits, key=lambda fit: (len(fit), fit))}" if fits else "helpers"
        return "helpers" if defined else "initial", (key,)

    def _network(self, found: Sequence[Statement]) -> None:
        marks = self._marks(found, network_places(self.outline))
        parts = self.outline.parts
        marks = [
            keys or ((part,) if not s.says and (part := part_of(parts, s.text)) else ())
            for s, keys in zip(found, marks, strict=True)
        ]
        marks = _attached(found, marks)
        self._write(found, marks, "network")
        side = dict(sides(self.outline))
        for statement, keys in zip(found, marks, strict=True):
            row = side.get(keys[0].partition(".")[0], "") if keys else ""
            if statement.says and statement.method in ("forward", "__call__"):
                row = "forward"
            if row and self.starts[-1][1] not in (row, "forward"):
                first = statement.first
                while self.lines[first - 2].strip().startswith("#"):
                    first -= 1
                self.starts.append((first, row))

    def _marks(self, found: Sequence[Statement], places: Sequence[Place]) -> list[tuple[str, ...]]:
        """What each statement says, by the names that it has, then by what it does between those."""
        marks: list[list[str]] = [[] for _ in found]
        self.kinds |= {place.key: f"kind.{place.kind}" for place in places if place.kind}
        order = [n for n, statement in enumerate(found) if statement.runs and not statement.says]
        for place in places:
            for n, statement in enumerate(found):
                if not statement.says and re.search(place.name, statement.text):
                    marks[n].append(place.key)
        for number, place in enumerate(places):
            if any(place.key in marks[n] for n in (range(len(found)) if place.branch else order)):
                continue
            # What a method makes by name is still to be found where it is computed.
            before = [n for n in order for p in places[:number] if p.key in marks[n] and p.branch == place.branch]
            after = [n for n in order for p in places[number + 1 :] if p.key in marks[n] and p.branch == place.branch]
            low, high = max(before, default=order[0]), min(after, default=order[-1])
            between = [n for n in order if low <= n <= high or place.branch]
            between = [n for n in between if found[n].nested == place.branch] or between
            fits = [n for n in between if re.search(place.words, found[n].text)]
            if fits:
                marks[fits[-1] if place.key == "block.add" else fits[0]].append(place.key)
            elif not any(place.key in keys for keys in marks):
                marks[low].append(place.key)
        return [tuple(keys) for keys in marks]

    def _write(self, found: Sequence[Statement], marks: Sequence[tuple[str, ...]], whole: str) -> None:
        for statement, keys in zip(found, marks, strict=True):
            for number in range(statement.first, statement.last + 1):
                self.own[number] = keys or ((whole,) if whole else ())
                kinds = dict.fromkeys(self.kinds[key] for key in keys if key in self.kinds)
                self.related[number] = (whole, *kinds) if whole and keys else ()

    def _comments(self) -> None:
        """A comment says what the statement below it says."""
        for number in range(len(self.lines), 0, -1):
            if number not in self.own and self.lines[number - 1].strip().startswith("#"):
                self.own[number] = self.own.get(number + 1, ())
                self.related[number] = self.related.get(number + 1, ())


def _with_shortcut(statement: Statement, keys: tuple[str, ...]) -> tuple[str, ...]:
    """What a statement of a block says; if that is no layer, it may be about the shortcut as a whole."""
    if statement.says:
        return keys
    if re.search(r"self\.shortcut\(", statement.text):
        return (*keys, "block.shortcut")
    about = statement.nested or re.search(r"shortcut|self\.(projects|reshapes)|^\s*(el)?if ", statement.text)
    return keys or (("block.shortcut",) if about else ())


def _attached(found: Sequence[Statement], marks: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """What is assigned for the next statement belongs to it, and what reads a name of the last one to that."""
    result = list(marks)
    for n in range(len(found) - 2, -1, -1):
        if not result[n] and found[n].assigns and found[n].assigns in found[n + 1].reads and not found[n].says:
            result[n] = result[n + 1]
    for n in range(1, len(found)):
        given = found[n - 1].assigns
        if not result[n] and given not in ("", "x", "y") and given in found[n].reads:
            result[n] = result[n - 1]
    return result


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _short(kind: type) -> str:
    """A name that programs give to a function of this kind."""
    return {"ReLU": "relu", "Activation": "sigmoid", "GlobalMaxPool": "globalmax"}.get(kind.__name__, "no such name")
