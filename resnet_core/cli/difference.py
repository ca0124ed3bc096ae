"""`resnet diff`: what separates two networks, or one network in two frameworks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from resnet_core.cli.options import JsonFlag, SpecArgument, output_file, print_json, resolve_spec
from resnet_core.errors import InputError
from resnet_core.files import write_atomically

if TYPE_CHECKING:
    from rich.console import RenderableType

    from resnet_core.difference.alignment import Line, Row
    from resnet_core.difference.difference import Change, Difference

#: Columns from which two programs are read side by side; their lines, of up to 88, are wrapped below 186.
WIDE = 120
#: Rows of a table before it says how many more there are.
MOST = 30


def diff_networks(
    left: SpecArgument,
    right: Annotated[
        str | None, typer.Argument(metavar="SPEC", help="The other network; by default the same one.")
    ] = None,
    backends: Annotated[
        str, typer.Option(metavar="A,B", help="Whose programs are compared: one backend, or one for each network.")
    ] = "torch",
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replace a field of the second network; can be repeated."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="F", help="Write a page, F.html, or F.json.", callback=output_file),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show what separates two networks, or two frameworks. Compared are fields, layers, tensors and programs."""
    from resnet_core.difference.difference import diff

    names = [name.strip() for name in backends.split(",") if name.strip()]
    if len(names) not in (1, 2):
        raise InputError(f"--backends: received {backends!r}; expected one name, or two such as torch,keras")
    ours = resolve_spec(left, None)
    other = None if right is None and not overrides else resolve_spec(right or left, overrides)
    found = diff(ours, other, backends=(names[0], names[-1]))
    if output is not None:
        _write(found, output)
    elif as_json:
        print_json(found.to_json())
    else:
        _print(found)


def _write(found: Difference, output: Path) -> None:
    from resnet_core.difference.page import page

    contents = {".html": lambda: page(found), ".json": lambda: json.dumps(found.to_json(), indent=1) + "\n"}
    if output.suffix.lower() not in contents:
        raise InputError(f"diff: received {output.name!r}; expected a file that ends in .html or .json")
    write_atomically(output, contents[output.suffix.lower()]().encode())


def _print(found: Difference) -> None:
    from rich.console import Console
    from rich.text import Text

    from resnet_core.cli import tables

    for title, rows in _sections(found):
        tables.show(Text(title, style="bold"))
        shown = list(rows)
        table = tables.plain_table("", found.left, found.right)
        for column in table.columns:
            column.no_wrap, column.overflow = False, "fold"
        for row in shown[:MOST]:
            table.add_row(*row)
        if shown:
            tables.show(table)
        if len(shown) > MOST:
            tables.show(Text(f"… and {len(shown) - MOST} more; --json has all of them"))
        tables.show(Text(""))
    width = Console().width if Console().is_terminal else 0
    tables.show(_program(found, width))


def _sections(found: Difference) -> Iterator[tuple[str, Iterable[tuple[str, str, str]]]]:
    from resnet_core.difference.page import value_text

    def rows(changes: Sequence[Change]) -> Iterator[tuple[str, str, str]]:
        return ((change.path, value_text(change.left), value_text(change.right)) for change in changes)

    if found.fields:
        yield "fields of the spec", rows(found.fields)
    yield "counts", rows(found.counts)
    if found.same_network:
        yield "the same network: every layer and every tensor", ()
        return
    if found.layers:
        layers = ((change.where, value_text(change.left), value_text(change.right)) for change in found.layers)
        yield "layers", layers
    if found.tensors:
        reshaped = [change for change in found.tensors if change.left and change.right]
        yield f"tensors: {found.tensor_sentence()}", rows(reshaped)


def _program(found: Difference, width: int) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from resnet_core.difference.alignment import hunks

    blocks: list[RenderableType] = [Text("programs", style="bold")]
    changed = list(hunks(found.rows))
    if not changed:
        blocks.append(Text("the same lines"))
    for hunk in changed:
        blocks.append(_side_by_side(hunk, found) if width >= WIDE else _unified(hunk))
    return Group(*blocks)


def _unified(hunk: Sequence[Row]) -> RenderableType:
    from rich.text import Text

    first = next(line for row in hunk for line in (row.left, row.right) if line is not None)
    lines = [Text(f"@@ line {first.number} @@", style="cyan")]
    waiting: list[Text] = []  # what the right side has instead, until the left side's lines are all said
    for row in hunk:
        if row.kind == "equal" and row.left:
            lines += [*waiting, Text(f"  {row.left.text}")]
            waiting = []
            continue
        if row.left:
            lines.append(Text(f"- {row.left.text}", style="red"))
        if row.right:
            waiting.append(Text(f"+ {row.right.text}", style="green"))
    return Text("\n").join([*lines, *waiting])


def _side_by_side(hunk: Sequence[Row], found: Difference) -> RenderableType:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, expand=True, show_header=True, header_style="cyan")
    for title in (found.left, found.right):
        table.add_column("", justify="right", style="dim", no_wrap=True, width=4)
        table.add_column(title, overflow="fold", ratio=1)  # wrapped, never cut
    for row in hunk:
        pieces = _pieces(row)
        table.add_row(_number(row.left), pieces[0], _number(row.right), pieces[1])
    return table


def _pieces(row: Row) -> tuple[Any, Any]:
    from rich.text import Text

    from resnet_core.difference.alignment import changed_words

    if row.kind == "changed" and row.left and row.right:
        ours, theirs = changed_words(row.left.text, row.right.text)
        return tuple(
            Text.assemble(*((piece, f"bold {color}" if changed else color) for piece, changed in pieces))
            for pieces, color in ((ours, "red"), (theirs, "green"))
        )  # type: ignore[return-value]
    colors = ("", "") if row.kind == "equal" else ("red", "green")
    return tuple(
        Text("" if line is None else line.text, style=color)
        for line, color in zip((row.left, row.right), colors, strict=True)
    )  # type: ignore[return-value]


def _number(line: Line | None) -> str:
    return "" if line is None else str(line.number)
