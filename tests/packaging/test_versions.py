"""The lowest versions that are allowed were tried, with the newest; every check passed; the page says so."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from environments import BEGIN, END, PAGE, RECORD, REQUIREMENT, requirements, table

from resnet_core.engines import KNOWN, ONEDNN

ENTRIES: dict[str, dict[str, Any]] = json.loads(RECORD.read_text(encoding="utf-8"))
#: Of several systems, and only there.
ELSEWHERE = {"tensorflow"}


def number(version: str) -> tuple[int, ...]:
    """2.0 and 2.0.0 are one version."""
    parts = [int(part) for part in version.partition("+")[0].split(".")]
    while parts and not parts[-1]:
        parts.pop()
    return tuple(parts)


@pytest.mark.parametrize("line", requirements("newest"))
def test_the_lowest_version_was_tried_and_a_newer_one(line: str) -> None:
    found = REQUIREMENT.fullmatch(line)
    assert found, line  # a name and its lowest version, and no more
    name = found["name"].lower()
    if name not in ELSEWHERE:
        tried = {number(entry["versions"][name]) for entry in ENTRIES.values() if name in entry["versions"]}
        assert min(tried) == number(found["lowest"])
        assert name in ("pytest-xdist", "tomli-w") or len(tried) > 1


def test_every_check_passed() -> None:
    assert len(ENTRIES) >= 3
    said = {(name, check): said for name, entry in ENTRIES.items() for check, said in entry["checks"].items()}
    assert {key: words for key, words in said.items() if words != "passed"} == {}


def test_the_lowest_are_exact() -> None:
    assert "numpy==2.0" in requirements("lowest")
    assert not [line for line in requirements("lowest") if ">=" in line]


def test_the_option_of_xla_is_given_to_no_version_that_is_newer_than_what_was_tried() -> None:
    newest = max(number(entry["versions"]["jaxlib"])[:2] for entry in ENTRIES.values() if "jaxlib" in entry["versions"])
    assert KNOWN[1] == ONEDNN[1] == (newest[0], newest[1] + 1)


def test_the_page_shows_what_was_recorded() -> None:
    shown = re.search(f"{BEGIN}\n(.*?){END}", PAGE.read_text(encoding="utf-8"), re.S)
    assert shown
    assert shown[1] == table(ENTRIES)
