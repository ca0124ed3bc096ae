"""The site is built without a warning, asks nobody for anything, and every link in it leads somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from engines import CPU, QUICK
from resnet_core.cli.commands import COMMANDS

ROOT = Path(__file__).parents[2]
SITE = ROOT / "docs" / "site"
pytest.importorskip("sphinx", reason='the site needs Sphinx: pip install ".[docs]"')

sys.path.insert(0, str(SITE))
try:
    import commands
    import notebooks
    import pages
finally:
    sys.path.remove(str(SITE))

#: Attributes whose address is loaded with the page, and those that are only followed.
LOADED = {("script", "src"), ("img", "src"), ("source", "src"), ("iframe", "src"), ("object", "data"), ("use", "href")}
#: Kinds of <link> that load nothing.
FOLLOWED = {"next", "prev", "search", "index", "canonical", "alternate"}


def built(folder: Path, *arguments: str) -> Path:
    command = [sys.executable, str(SITE / "build.py"), str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return folder / "html"


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("site"), "--quick")


class Page(HTMLParser):
    """What a page loads, where its links lead, and the places in it that a link can lead to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.places |= {given["id"]} if "id" in given else set()
        self.loads += [value for name, value in given.items() if (tag, name) in LOADED]
        if tag == "link" and "href" in given and given.get("rel") not in FOLLOWED:
            self.loads.append(given["href"])
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        self.loads += re.findall(r"url\(['\"]?([^)'\"]+)", given.get("style", ""))


def outside(text: str, ending: str) -> list[str]:
    """The addresses of other machines that a file loads something from."""
    if ending == ".html":
        loads = Page(text).loads
    else:
        loads = re.findall(r"url\(\s*['\"]?([^)'\"]+)|@import\s+['\"]([^'\"]+)", text)
        loads = [first or second for first, second in loads]
    return [address for address in loads if re.match(r"(https?:)?//", address)]


def dead_links(html: Path) -> Iterator[str]:
    files = [file for file in html.rglob("*.html") if "_static" not in file.parts]  # where the theme has a template
    found = {file: Page(file.read_text()) for file in files}
    for file, page in found.items():
        for link in {*page.links, *page.loads}:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            place = unquote(parts.fragment)
            if not target.exists() or (place and target in found and place not in found[target].places):
                yield f"{file.name}: {link}"


def test_nothing_is_loaded_from_elsewhere(html: Path) -> None:
    files = [file for file in html.rglob("*") if file.suffix in (".html", ".css")]
    assert len(files) > 40
    assert [f"{file.name}: {address}" for file in files for address in outside(file.read_text(), file.suffix)] == []


def test_every_link_leads_to_a_page_and_a_place_in_it(html: Path) -> None:
    assert list(dead_links(html)) == []


def test_what_is_loaded_from_elsewhere_and_what_leads_nowhere_is_found(tmp_path: Path) -> None:
    assert outside('<script src="https://a.example/b.js"></script><a href="https://c.example">', ".html") == [
        "https://a.example/b.js"
    ]
    assert outside('<link rel="stylesheet" href="//a.example/b.css"><link rel="next" href="c">', ".html") == [
        "//a.example/b.css"
    ]
    assert outside("@import 'https://a.example/c.css'; a { background: url(https://b.example/d) }", ".css") == [
        "https://a.example/c.css",
        "https://b.example/d",
    ]
    (tmp_path / "a.html").write_text('<p id="here"><a href="#here"><a href="#there"><a href="b.html"><a href="a.html">')
    assert sorted(dead_links(tmp_path)) == ["a.html: #there", "a.html: b.html"]


def test_every_command_and_every_option_has_its_place(html: Path) -> None:
    made = commands.command_pages()
    assert set(made) == {"commands/index.md", *(f"commands/{name}.md" for name in COMMANDS)}
    text = (html / "commands" / "compare.html").read_text()
    for words in ("--report F", "--time-limit SECONDS", "Check that all backends compute the same", "default: 600.0"):
        assert words in re.sub("<[^>]*>", "", text)


def test_no_option_has_lost_its_hyphens(html: Path) -> None:
    """Typography makes a dash of two hyphens."""
    assert "with --resume the run" in (html / "commands/train.html").read_text()
    for file in html.rglob("*.html"):
        assert not re.search(r"[\s(]–[a-z]", file.read_text()), file.name


def test_every_page_and_every_notebook_is_in_the_site(html: Path) -> None:
    for source, name in pages.placed().items():
        if source.suffix == ".md":
            assert (html / name).with_suffix(".html").exists(), name
    for program in (ROOT / "docs" / "notebooks").glob("*.py"):
        assert (html / "notebooks" / f"{program.stem}.html").exists()


# Links that move, and cells


def test_links_move_with_their_page_and_lose_what_is_no_page() -> None:
    places = {ROOT / "docs" / "spec.md": "spec.md", ROOT / "backends" / "README.md": "backends.md"}
    text = "[a](../backends/README.md#the-running-variance) ![b](spec.md) [`c`](../Makefile) [d](https://e.example)"
    moved = pages.moved(text, ROOT / "docs" / "spec.md", places)
    assert moved == "[a](backends.md#the-running-variance) ![b](spec.md) `c` [d](https://e.example)"
    code = "```python\nx = [a](../nothing)\n```\n"
    assert pages.moved(code, ROOT / "docs" / "spec.md", places) == code
    with pytest.raises(FileNotFoundError, match="nothing leads nowhere"):
        pages.moved("[a](../nothing)", ROOT / "docs" / "spec.md", places)


def test_a_notebook_is_cells_that_are_run_and_shown() -> None:
    cells = notebooks.read_cells("# %% [markdown]\n# # Title\n#\n# Words.\n\n# %%\nx = 2\nprint(x)\nx + 1\n")
    assert [(cell.kind, cell.text) for cell in cells] == [
        ("markdown", "# Title\n\nWords."),
        ("code", "x = 2\nprint(x)\nx + 1"),
    ]
    notebooks.run(cells)
    assert cells[1].printed == "2\n3"
    assert "```text\n2\n3\n```" in notebooks.to_markdown("a", cells)
    assert '"text": "2\\n3\\n"' in notebooks.to_notebook(cells)


# The notebooks themselves

#: What a notebook is run with here, and with --long and in the site as it stands.
SMALL = {
    "compare": ('BACKENDS = ["torch", "keras", "flax"]', 'BACKENDS = ["torch"]'),
    "train": ('FIRST, SECOND = "torch", "flax"', 'FIRST, SECOND = "torch", "numpy"'),
    "weights": ('OTHER = "flax"', 'OTHER = "numpy"'),
}


@pytest.mark.parametrize("name", SMALL)
def test_a_notebook_runs_as_a_program(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    text = (ROOT / "docs" / "notebooks" / f"{name}.py").read_text()
    usual, small = SMALL[name]
    assert text.count(usual) == 1
    if not request.config.getoption("--long"):
        text = text.replace(usual, small)
    (tmp_path / f"{name}.py").write_text(text)
    done = subprocess.run(
        [sys.executable, f"{name}.py"],
        cwd=tmp_path,
        env={**os.environ, **CPU, **QUICK},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout


def test_no_notebook_is_left_out() -> None:
    assert set(SMALL) == {program.stem for program in (ROOT / "docs" / "notebooks").glob("*.py")}


@pytest.mark.long
def test_the_whole_site_is_built(tmp_path: Path) -> None:
    """With its comparison, its lessons and what the notebooks print."""
    html = built(tmp_path)
    assert list(dead_links(html)) == []
    assert "Equal: resnet20 in torch, keras, flax and onnx" in (html / "results.html").read_text()
    assert (html / "lessons" / "resnet50.html").exists()
    assert "finished after step" in (html / "notebooks" / "train.html").read_text()
