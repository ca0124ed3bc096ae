"""A printed program in statements, with the lines that each has."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

#: Methods of a class in which the network is computed.
FORWARD = ("forward", "__call__")


@dataclass(frozen=True, slots=True)
class Statement:
    """Lines `first` to `last`, from 1; of an `if` or a loop only its head.

    `runs`: it is computed, and not made beforehand; `nested`: it stands in an `if`; `says`: it is a signature or a
    docstring.
    """

    first: int
    last: int
    text: str
    runs: bool = True
    nested: bool = False
    says: bool = False
    method: str = ""
    assigns: str = ""
    reads: frozenset[str] = frozenset()


def statements(definition: ast.stmt, lines: Sequence[str]) -> list[Statement]:
    """Of a class or a function at the top level, or of the `if` that runs the program."""
    return list(_of(definition, lines, runs=True, nested=False, method="", top=True))


def _of(
    node: ast.stmt, lines: Sequence[str], *, runs: bool, nested: bool, method: str, top: bool = False
) -> Iterator[Statement]:
    body: list[ast.stmt] = getattr(node, "body", [])
    first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
    is_definition = isinstance(node, ast.ClassDef | ast.FunctionDef)
    last = body[0].lineno - 1 if body else node.end_lineno or node.lineno
    while body and last > first and not lines[last - 1].strip().endswith(":"):
        last -= 1  # a comment before the first statement is not part of the head
    if isinstance(node, ast.FunctionDef) and not top:
        runs, method = node.name in FORWARD or bool(method), method or node.name
    assigns, reads = _names(node) if not body else ("", frozenset())
    text = "\n".join(lines[first - 1 : last])
    says = is_definition or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    yield Statement(first, last, text, runs, nested, says, method, assigns, reads)
    inside = nested or (isinstance(node, ast.If) and not top)
    for child in body:
        yield from _of(child, lines, runs=runs, nested=inside, method=method)
    for child in getattr(node, "orelse", []):
        yield from _of(child, lines, runs=runs, nested=inside, method=method)


def _names(node: ast.stmt) -> tuple[str, frozenset[str]]:
    """(the name that a statement assigns, the names that it reads)."""
    target = node.targets[0] if isinstance(node, ast.Assign) else None
    loaded = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    return target.id if isinstance(target, ast.Name) else "", frozenset(loaded)
