"""The lesson's texts: complete in both languages, each used, and nothing English left in a Chinese page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from string import Formatter

import pytest

import resnet_core as rn
from resnet_core.errors import InputError
from resnet_core.lessons.texts import LANGUAGES, Texts, catalogue

SOURCES = sorted(Path(str(files("resnet_core.lessons"))).glob("*.*"))

#: What the page's script asks for by a key that it puts together.
BY_SCRIPT = ("exercise.number", "exercise.right", "exercise.low", "exercise.high", "script.good", "script.bad")

#: As it is called in either language, or a number.
ALIKE = {"kind.ReLU.name", "topic.gelu.title", "topic.epsilon.torch", "topic.epsilon.keras", "topic.epsilon.flax"}


def holes(text: str) -> set[str]:
    """Names of what is filled in."""
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def incomplete(texts: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """{key: what is wrong with it}."""
    found = {}
    for key, said in texts.items():
        if set(said) != set(LANGUAGES):
            found[key] = f"is in {sorted(said)}"
        elif not all(text.strip() for text in said.values()):
            found[key] = "is empty"
        elif len({frozenset(holes(text)) for text in said.values()}) > 1:
            found[key] = "has other values in one language"
        elif (said["en"] == said["zh"]) != (key in ALIKE):
            found[key] = "is not translated"
        elif key not in ALIKE and not re.search(r"[\u4e00-\u9fff]", said["zh"]):
            found[key] = "is not Chinese"
    return found


def test_every_text_is_there_in_both_languages_and_says_the_same_numbers() -> None:
    assert len(catalogue()) > 150
    assert incomplete(catalogue()) == {}


@pytest.mark.parametrize(
    ("key", "change", "said"),
    [
        ("idea.backward", {"en": "Backward."}, "is in ['en']"),
        ("page.title", {"en": "{name}, side by side", "zh": "逐行对照"}, "has other values in one language"),
        ("page.idea", {"en": "The residual idea", "zh": "The residual idea"}, "is not translated"),
        ("page.idea", {"en": "The residual idea", "zh": "An idea"}, "is not Chinese"),
        ("page.idea", {"en": "The residual idea", "zh": " "}, "is empty"),
    ],
)
def test_a_text_that_is_missing_is_found(key: str, change: dict[str, str], said: str) -> None:
    assert incomplete({**catalogue(), key: change}) == {key: said}


def asked_for() -> tuple[set[str], set[str]]:
    """(keys, patterns of keys) that the sources say."""
    keys, patterns = set(BY_SCRIPT), set()
    for source in SOURCES:
        text = source.read_text(encoding="utf-8")
        if source.suffix == ".py":
            keys |= set(re.findall(r"[\"']([a-z_]+(?:\.\w+)+)[\"']", text))
            for pattern in re.findall(r"texts(?:\.html|\.has)?\(\s*(?:own if [^f]*)?f[\"']([^\"']+)[\"']", text):
                patterns.add(re.sub(r"\\\{.*?\\\}", r"[\\w.]+", re.escape(pattern)))
        for function, group in (("say", "live"), ("said", "script")):
            keys |= {f"{group}.{name}" for name in re.findall(rf'\b{function}\("(\w+)"', text)}
        keys |= {f"live.{name}" for name in re.findall(r"given\.texts\.(\w+)", text)}
    return keys, patterns


def test_every_text_is_used_and_every_key_has_a_text() -> None:
    keys, patterns = asked_for()
    known = set(catalogue())
    groups = {key.partition(".")[0] for key in known}
    others = {path.name for path in SOURCES}
    asked = {key for key in keys if key.partition(".")[0] in groups and key not in others}
    assert {key for key in asked - known if not any(name.startswith(f"{key}.") for name in known)} == set()
    rest = {key for key in known - asked if not any(re.fullmatch(pattern, key) for pattern in patterns)}
    assert rest == set()


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(InputError, match=r"^language: received 'fr'; expected one of en, zh$"):
        Texts("fr")


class Words(HTMLParser):
    """What a reader or a screen reader is told, without programs, names of classes and what a script holds."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.within: list[str] = []
        self.found: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "input", "br"):
            self.within.append(tag)
        if tag != "a":  # whose label repeats what is seen in a box, such as the name of a layer
            self.found += [value for name, value in attrs if name in ("aria-label", "title", "alt") and value]

    def handle_endtag(self, tag: str) -> None:
        while self.within and self.within.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not {"script", "style", "code", "math", "pre"} & set(self.within):
            self.found.append(data)


def english(html: str) -> list[str]:
    """Four English words in a row and more."""
    return [text for text in Words(html).found if re.search(r"[A-Za-z]{2,} [a-z]+ [a-z]+ [a-z]+", text)]


def test_nothing_english_is_left_in_a_chinese_page() -> None:
    spec = rn.spec("resnetrs50", input_size=64)
    html = rn.lesson(spec, measured=False, language="zh")
    assert '<html lang="zh-Hans">' in html
    assert english(html) == []
    assert "残差的思想" in html
    assert english(rn.lesson(spec, measured=False, language="en"))


def test_what_an_english_page_says_is_found_in_a_chinese_one() -> None:
    """A sentence that went past the catalogue."""
    html = rn.lesson(rn.spec("resnet20", channels=[4, 8, 16]), measured=False, language="zh")
    assert english(html) == []
    assert english(html.replace("残差的思想", "Here is an english sentence")) == ["Here is an english sentence"]
