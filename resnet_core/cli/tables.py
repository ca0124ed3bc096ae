"""Tables for the terminal: specs, comparisons, predictions. Numbers and names are never cut: columns are left out."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from resnet_core.comparison.wording import join, scientific
from resnet_core.zoo import SOURCES

if TYPE_CHECKING:
    from resnet_core.comparison.result import BackendResult, Comparison
    from resnet_core.training.evaluation import Evaluation

#: Columns where the output is no terminal: enough for every table.
UNLIMITED = 160


@dataclass(frozen=True)
class Column:
    """A column of a table. Where the terminal is narrow, those with the largest `expendable` are left out first."""

    header: str
    cells: Sequence[str]
    justify: Literal["left", "right"] = "right"
    expendable: int = 0

    @property
    def width(self) -> int:
        """Characters of the widest cell."""
        return max(map(len, (self.header, *self.cells)))


def show(renderable: RenderableType) -> None:
    """Print to standard output; where that is no terminal, wide enough for every column, without trailing blanks."""
    # Names of files and layers are plain text: brackets in them are not markup.
    console = Console(markup=False, highlight=False, emoji=False)
    if console.is_terminal:
        console.print(renderable)
        return
    if isinstance(renderable, str | Text):
        print(str(renderable))  # a sentence is one line, however long
        return
    console.width = terminal_width()
    with console.capture() as captured:
        console.print(renderable)
    print("\n".join(line.rstrip() for line in captured.get().split("\n")), end="")


def terminal_width() -> int:
    """Columns of the terminal in which the output is read, or enough for everything where it is read in none."""
    console = Console()
    if console.is_terminal:
        return console.width
    # What is piped to `head` or `less` is read in the terminal; what goes to a file has room.
    with contextlib.suppress(OSError):
        if stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode):
            return os.get_terminal_size(sys.stderr.fileno()).columns
    return UNLIMITED


def fitted_table(columns: Sequence[Column], styles: Sequence[str] | None = None, width: int | None = None) -> Table:
    """The columns that fit, and below them which were left out. `styles` has one for each row."""
    kept, left_out = _fitting(columns, width)
    table = plain_table()
    for column in kept:
        table.add_column(column.header, justify=column.justify, no_wrap=True)
    for index, cells in enumerate(zip(*(column.cells for column in kept), strict=True)):
        table.add_row(*cells, style=styles[index] if styles else "")
    if left_out:
        table.caption = left_out
        table.caption_justify = "left"
    return table


def _fitting(columns: Sequence[Column], width: int | None = None) -> tuple[list[Column], str]:
    """The columns that fit, and what is said of the others."""
    width = terminal_width() if width is None else width
    kept, gone = list(columns), []
    while sum(column.width + 2 for column in kept) - 2 > width:
        candidate = max(kept, key=lambda column: column.expendable)
        if not candidate.expendable:
            break
        kept.remove(candidate)
        gone.append(candidate.header)
    return kept, f"too narrow for {join(gone[::-1])}; --json has them" if gone else ""


def spec_table(rows: Sequence[Mapping[str, Any]]) -> Text:
    """`resnet list`: a heading for each family, and a row for each of its specs."""

    def cells(text: Callable[[Mapping[str, Any]], str]) -> list[str]:
        return [text(row) for row in rows]

    columns = [
        Column("name", cells(lambda row: f"  {row['name']}"), "left"),
        Column("block", cells(lambda row: str(row["block"])), "left", expendable=1),
        Column("depths", cells(lambda row: " ".join(map(str, row["depths"]))), "left"),
        Column("channels", cells(lambda row: " ".join(map(str, row["channels"]))), "left", expendable=3),
        Column("parameters", cells(lambda row: f"{row['parameters']:,}")),
        Column("state", cells(lambda row: f"{row['state']:,}"), expendable=4),
        Column("MACs", cells(lambda row: f"{row['macs']:,}")),
        Column("input", cells(lambda row: shape_text(row["input"])), expendable=2),
    ]
    kept, left_out = _fitting(columns)

    def line(cells: Iterable[str]) -> str:
        padded = (
            cell.ljust(column.width) if column.justify == "left" else cell.rjust(column.width)
            for column, cell in zip(kept, cells, strict=True)
        )
        return "  ".join(padded).rstrip() + "\n"

    text = Text(line(column.header for column in kept), style="")
    text.stylize("bold")
    for family, members in groupby(range(len(rows)), key=lambda index: rows[index]["family"]):
        text.append("\n").append(family, "bold").append(f": {SOURCES[family]}\n")
        for index in members:
            text.append(line(column.cells[index] for column in kept))
    text.append(left_out, "italic")
    text.rstrip()
    return text


def comparison_table(comparison: Comparison) -> Table:
    """`resnet compare`: one row per backend."""
    results = comparison.backends
    labeled = any(result.accuracy is not None for result in results.values())
    deep = comparison.level in ("gradients", "training")

    def cells(text: Callable[[BackendResult], str]) -> list[str]:
        return ["–" if result.error is not None else text(result) for result in results.values()]

    columns = [
        Column("backend", list(results), "left"),
        Column("error", [_outcome(result) for result in results.values()]),
        Column("at", cells(lambda result: (_worst(result) or "–").replace("_", " ")), "left"),
        *([Column("gradients", cells(_gradients))] if deep else []),
        *([Column("accuracy", cells(_accuracy))] if labeled else []),
        Column("first call", cells(lambda result: _seconds(result.seconds.first)), expendable=2),
        Column("steady", cells(lambda result: _seconds(result.seconds.steady))),
        Column("memory", cells(lambda result: f"{result.peak_memory_bytes / 2**20:,.0f} MiB"), expendable=1),
        Column("parameters", cells(lambda result: f"{result.parameters:,}"), expendable=3),
        Column("state", cells(lambda result: f"{result.state:,}"), expendable=5),
        Column("output", cells(lambda result: shape_text(result.output_shape)), expendable=4),
        Column("versions", cells(_versions), "left", expendable=6),
    ]
    return fitted_table(columns, ["" if result.equal else "red" for result in results.values()])


def verdict(sentence: str) -> Text:
    """Green if it begins with Equal, red if with NOT."""
    style = "green" if sentence.startswith("Equal") else "red" if sentence.startswith("NOT") else ""
    return Text(sentence, style=style)


def prediction_table(predictions: Sequence[Mapping[str, Any]]) -> Table:
    """`resnet predict`: the most likely classes of each picture."""
    table = plain_table("image", rank="right", **{"class": "right"}, label="left", probability="right")
    table.columns[0].no_wrap, table.columns[0].overflow = False, "fold"
    for prediction in predictions:
        table.add_section()
        for rank, row in enumerate(prediction["top"], start=1):
            table.add_row(
                prediction["image"] if rank == 1 else "",
                str(rank),
                str(row["class"]),
                row["label"] or "",
                f"{row['probability']:.4f}",
            )
    return table


def class_table(evaluation: Evaluation) -> Table:
    """`resnet evaluate --classes`: the accuracy on each class, and what its pictures were taken for instead."""
    mistakes = []
    for index, counts in enumerate(evaluation.confusion):
        order = sorted(range(len(counts)), key=lambda other: -counts[other])
        wrong = [other for other in order if other != index and counts[other]][:3]
        mistakes.append(", ".join(f"{evaluation.names[other]} {counts[other]}" for other in wrong))
    return fitted_table(
        [
            Column("class", evaluation.names, "left"),
            Column("pictures", [f"{count:,}" for count in evaluation.confusion.sum(1)]),
            Column("right", ["–" if share is None else f"{share:.1%}" for share in evaluation.per_class.values()]),
            Column("taken for", mistakes, "left", expendable=1),
        ]
    )


def shape_text(shape: Sequence[int]) -> str:
    """(224, 224, 3) as 224 x 224 x 3."""
    return " x ".join(map(str, shape))


def plain_table(*left: str, **aligned: Any) -> Table:
    """Columns without lines: `left` by name, the others {name: justification}."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for header in left:
        table.add_column(header, no_wrap=True)
    for header, justify in aligned.items():
        table.add_column(header, justify=justify, no_wrap=True)
    return table


def _outcome(result: BackendResult) -> str:
    if result.error is not None:
        return "not installed" if result.missing else "failed"
    return "–" if (worst := _worst(result)) is None else scientific(result.max_error[worst])


def _worst(result: BackendResult) -> str | None:
    """Where the error is closest to its tolerance, or furthest above it."""
    shares = {key: result.max_error[key] / limit for key, limit in result.tolerances.items()}
    return max(shares, key=lambda key: shares[key], default=None)


def _accuracy(result: BackendResult) -> str:
    return "–" if result.accuracy is None else f"{result.accuracy:.1%}"


def _versions(result: BackendResult) -> str:
    return ", ".join(f"{package} {version}" for package, version in result.versions.items())


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def _gradients(result: BackendResult) -> str:
    """The error at full width and, if it does not decide, that of the narrow network."""
    shown = scientific(result.max_error["gradients"])
    narrow = result.max_error.get("gradients_narrow")
    return shown if narrow is None else f"{shown}, narrow {scientific(narrow)}"
