"""What the lesson says, in each language: one source, `*.toml` beside this file, with every text in all of them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import lru_cache
from html import escape
from importlib.resources import files

from resnet_core.errors import require_choice

#: {code: the language's own name for itself}.
LANGUAGES = {"en": "English", "zh": "中文"}


class Texts:
    """The texts of one language: `texts("idea.sum", layers=3)` is the text of that key with its values filled in."""

    def __init__(self, language: str) -> None:
        """Raises InputError for a language that is not in LANGUAGES."""
        require_choice("language", language, tuple(LANGUAGES))
        self.language = language

    def __call__(self, key: str, **values: object) -> str:
        return catalogue()[key][self.language].format(**values)

    def html(self, key: str, **parts: str) -> str:
        """The text as HTML; `parts` are HTML already."""
        return escape(catalogue()[key][self.language]).format(**parts)

    def has(self, key: str) -> bool:
        """Whether there is such a text."""
        return key in catalogue()

    def group(self, prefix: str) -> dict[str, str]:
        """{rest of the key: text as it is stored} of all keys that begin with `prefix` and a dot."""
        found = catalogue().items()
        return {key[len(prefix) + 1 :]: text[self.language] for key, text in found if key.startswith(f"{prefix}.")}


@lru_cache(maxsize=1)
def catalogue() -> dict[str, dict[str, str]]:
    """{key: {language: text}} of all files."""
    found: dict[str, dict[str, str]] = {}
    for file in sorted(files("resnet_core.lessons.texts").iterdir(), key=lambda file: file.name):
        if file.name.endswith(".toml"):
            _gather(tomllib.loads(file.read_text(encoding="utf-8")), "", found)
    return found


def _gather(table: Mapping[str, object], path: str, found: dict[str, dict[str, str]]) -> None:
    """A table of texts has one of them in each language; any other table has tables."""
    texts = {name: value for name, value in table.items() if isinstance(value, str)}
    if texts:
        found[path] = texts
    for name, value in table.items():
        if isinstance(value, Mapping):
            _gather(value, f"{path}.{name}" if path else name, found)
