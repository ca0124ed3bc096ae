"""The programs beside each other, row by row, as HTML: every line with what it says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from resnet_core.lessons.coloring import colored_lines
from resnet_core.lessons.columns import Column, Piece, rows
from resnet_core.lessons.differences import Topic, marked
from resnet_core.lessons.texts import Texts

#: What the columns are called, in their order.
FRAMEWORKS = {"torch": "PyTorch", "keras": "Keras", "flax": "Flax (NNX)", "numpy": "NumPy"}


def program_rows(columns: Sequence[Column], topics: Sequence[Topic], texts: Texts) -> Iterator[str]:
    """Every row, with a cell for each program; lines that say one of the `topics` are marked."""
    there = [column for column in columns if not column.missing]
    html = {column.backend: colored_lines(column.text) for column in there}
    diffs = {column.backend: marked(topics, column) for column in there}
    for column in columns:
        if column.missing:
            said = texts("row.missing", framework=FRAMEWORKS[column.backend], reason=column.missing)
            yield f'<p class="hint">{escape(said)}</p>'
    seen: dict[str, int] = {}
    first = {column.backend: column.pieces[0] for column in there}
    for row, pieces in rows(there):
        seen[row] = seen.get(row, 0) + 1
        number = f"-{seen[row]}" if seen[row] > 1 else ""
        title, about = _row_title(row, texts)
        lines = [(c, line) for c, piece in zip(there, pieces, strict=True) if piece for line in piece.lines]
        same = "" if any(line.number in diffs[c.backend] for c, line in lines) else " same"
        yield f'<section class="row{same}" id="row-{row}{number}" aria-label="{escape(title)}">'
        yield f'<h3>{escape(title)} <small>{escape(about)}</small></h3><div class="cells">'
        for column, piece in zip(there, pieces, strict=True):
            name = column.backend
            stop = piece is not None and piece is first[name]
            yield _cell(name, row, piece, html[name], diffs[name], stop, texts)
        yield "</div></section>"


def _row_title(row: str, texts: Texts) -> tuple[str, str]:
    if row.startswith("kind."):
        return texts(f"{row}.name"), texts("row.kind")
    return texts(f"row.{row}.name"), texts(f"row.{row}.about")


def _cell(
    backend: str,
    row: str,
    piece: Piece | None,
    html: Sequence[str],
    diffs: Mapping[int, str],
    stop: bool,
    texts: Texts,
) -> str:
    name = FRAMEWORKS[backend]
    if piece is None:
        why = texts(own if texts.has(own := f"row.nothing.{backend}_{row}") else "row.nothing.any")
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
    keys = escape(texts("row.keys", framework=name))
    reach = f' tabindex="0" role="group" aria-label="{keys}"' if stop else ""
    return (
        f'<div class="cell{plain}" data-backend="{backend}"><h4>{name}</h4>'
        f'<pre data-column="{backend}"{reach}><code>{"".join(lines)}</code></pre></div>'
    )
