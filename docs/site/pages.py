"""The pages of the repository as pages of the site: where each goes, and its links with it."""

from __future__ import annotations

import os
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: Pages that stand outside docs/, and their names in the site. The site's own first page stands for the README.
ELSEWHERE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "backends/README.md": "backends.md",
    "benchmarks/README.md": "benchmarks.md",
}

_FENCE = re.compile(r"^( *)(```+|:::+).*?^\1\2[^\S\n]*$", re.M | re.S)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")


def placed() -> dict[Path, str]:
    """{file of the repository: its place in the site} of every page and picture that is copied."""
    found = {ROOT / page: name for page, name in ELSEWHERE.items()}
    folder = ROOT / "docs"
    for file in [*sorted(folder.glob("*.md")), *sorted(folder.glob("*.png")), *sorted(folder.glob("*.svg"))]:
        found[file] = file.name
    for page in sorted((folder / "site").glob("*.md")):
        found[page] = page.name
    return found


def moved(text: str, source: Path, places: dict[Path, str]) -> str:
    """The text with links that lead to the same from the place of `source` in the site.

    A link to a file of the repository that is no page of the site becomes its text. Raises FileNotFoundError for one
    that leads nowhere.
    """
    pieces, end = [], 0
    for fence in _FENCE.finditer(text):
        code = fence.group(0)
        inside = code if fence.group(2).startswith("`") else _relinked(code, source, places)
        pieces += [_relinked(text[end : fence.start()], source, places), inside]
        end = fence.end()
    return "".join([*pieces, _relinked(text[end:], source, places)])


def _relinked(text: str, source: Path, places: dict[Path, str]) -> str:
    here = Path(places[source]).parent

    def replaced(found: re.Match[str]) -> str:
        picture, words, link = found.groups()
        words = _relinked(words, source, places)
        target, hash_, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:") or not target:
            return f"{picture}[{words}]({link})"
        file = (source.parent / target).resolve()
        if file not in places and (file / "README.md") in places:
            file = file / "README.md"
        if file in places:
            return f"{picture}[{words}]({os.path.relpath(places[file], here)}{hash_}{anchor})"
        if not file.exists():
            raise FileNotFoundError(f"{source}: {link} leads nowhere")
        return words

    return _LINK.sub(replaced, text)
