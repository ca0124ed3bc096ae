"""Builds the site: `python docs/site/build.py FOLDER [--quick]`, or `make docs`.

Pages are copied and made in FOLDER/source, and Sphinx builds them into FOLDER/html, with every warning an error. Quick
leaves out what takes time: the comparison, the gallery's lessons, and what the notebooks print.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from commands import command_pages
from gallery import gallery_pages
from notebooks import read_cells, run, to_markdown, to_notebook
from pages import ROOT, moved, placed
from results import results_pages

HERE = Path(__file__).parent


def build(folder: Path, *, quick: bool) -> int:
    """The exit code of Sphinx."""
    from sphinx.cmd.build import build_main

    source, html = folder / "source", folder / "html"
    shutil.rmtree(source, ignore_errors=True)
    shutil.rmtree(html, ignore_errors=True)
    for name, content in source_files(quick=quick).items():
        file = source / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    arguments = ["-b", "html", "-W", "--keep-going", "-q", "-d", str(folder / "doctrees"), str(source), str(html)]
    return build_main(arguments)


def source_files(*, quick: bool) -> dict[str, bytes]:
    """{place: content} of everything that Sphinx reads."""
    places = placed()
    files = {"conf.py": (HERE / "conf.py").read_bytes(), "static/site.css": (HERE / "site.css").read_bytes()}
    files["extra/.nojekyll"] = b""  # a host that knows it leaves folders with an underscore as they are
    for file, name in places.items():
        if file == ROOT / "README.md":  # the site has a first page of its own
            continue
        data = file.read_bytes()
        files[name] = moved(data.decode(), file, places).encode() if file.suffix == ".md" else data
    made = command_pages() | notebook_pages(quick=quick) | gallery_pages(quick=quick) | results_pages(quick=quick)
    return files | {name: text.encode() for name, text in made.items()}


def notebook_pages(*, quick: bool) -> dict[str, str]:
    """A page, a program and a Jupyter file for each notebook."""
    files: dict[str, str] = {}
    for program in sorted((ROOT / "docs" / "notebooks").glob("*.py")):
        cells = read_cells(program.read_text())
        if not quick:
            run(cells)
        files[f"notebooks/{program.stem}.md"] = to_markdown(program.stem, cells)
        files[f"notebooks/{program.name}"] = program.read_text()
        files[f"notebooks/{program.stem}.ipynb"] = to_notebook(cells)
    return files


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    sys.exit(build(given.folder, quick=given.quick))
