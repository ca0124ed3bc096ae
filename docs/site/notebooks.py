"""Notebooks that are programs: `# %%` begins a cell of code, `# %% [markdown]` one of text."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Cell:
    """A cell; `printed` is what it prints, and what its last expression is, where it has been run."""

    kind: str
    text: str
    printed: str = ""


def read_cells(text: str) -> list[Cell]:
    """The cells of a notebook's program."""
    cells = []
    for mark, body in re.findall(r"^# %%([^\n]*)\n(.*?)(?=^# %%|\Z)", text, re.M | re.S):
        if "[markdown]" in mark:
            lines = (line.removeprefix("#").removeprefix(" ") for line in body.strip("\n").split("\n"))
            cells.append(Cell("markdown", "\n".join(lines).strip()))
        else:
            cells.append(Cell("code", body.strip("\n")))
    return cells


def run(cells: list[Cell]) -> None:
    """Run the code in one namespace, in a folder of its own, and keep what each cell prints."""
    names: dict[str, Any] = {"__name__": "__main__"}
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            for cell in cells:
                if cell.kind == "code":
                    cell.printed = _run(cell.text, names)
        finally:
            os.chdir(before)


def _run(text: str, names: dict[str, Any]) -> str:
    tree = ast.parse(text)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(tree, "cell", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
            if value is not None:
                print(value if isinstance(value, str) else repr(value))
    return output.getvalue().rstrip()


def to_markdown(name: str, cells: list[Cell]) -> str:
    """The page, with what was printed below each cell."""
    return "\n\n".join(_markdown(name, cells)) + "\n"


def _markdown(name: str, cells: list[Cell]) -> Iterator[str]:
    for number, cell in enumerate(cells):
        if cell.kind == "code":
            yield f"```python\n{cell.text}\n```"
            if cell.printed:
                yield f":::{{div}} printed\n```text\n{cell.printed}\n```\n:::"
            continue
        yield cell.text
        if number == 0:
            yield (
                f"{{download}}`As a program <{name}.py>`, which `python {name}.py` runs, or "
                f"{{download}}`as a notebook <{name}.ipynb>`."
            )


def to_notebook(cells: list[Cell]) -> str:
    """The same as Jupyter's file."""
    made = []
    for number, cell in enumerate(cells):
        entry: dict[str, Any] = {"cell_type": cell.kind, "id": f"cell{number}", "metadata": {}, "source": cell.text}
        if cell.kind == "code":
            printed = [{"output_type": "stream", "name": "stdout", "text": cell.printed + "\n"}] if cell.printed else []
            entry |= {"execution_count": None, "outputs": printed}
        made.append(entry)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    about = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return json.dumps({"cells": made, "metadata": about, "nbformat": 4, "nbformat_minor": 5}, indent=1) + "\n"
