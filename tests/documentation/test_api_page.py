"""docs/api.md is what the docstrings say, and has every public name once."""

from __future__ import annotations

import doctest
import runpy
import sys
from pathlib import Path

import pytest

import resnet_core as rn

MADE = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "make_api.py"))


def test_the_page_is_up_to_date() -> None:
    """Where it is not: `python docs/make_api.py`."""
    assert MADE["PAGE"].read_text() == MADE["page"]()


def test_every_public_name_is_there_once_and_explained() -> None:
    names = [name for section in MADE["SECTIONS"].values() for name in section]
    assert sorted(names) == sorted(name for name in rn.__all__ if name != "__version__")
    assert [name for name in names if not (getattr(rn, name).__doc__ or "").strip()] == []


def examples() -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = []
    for name in rn.__all__:
        item = getattr(rn, name)
        module = sys.modules.get(getattr(item, "__module__", ""))
        if module is not None and callable(item):
            found += [case for case in finder.find(item, name, module, extraglobs={"rn": rn}) if case.examples]
    return found


@pytest.mark.parametrize("case", examples(), ids=lambda case: case.name)
def test_every_example_of_a_docstring_is_right(case: doctest.DocTest) -> None:
    result = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(case)
    assert result.attempted > 0
    assert result.failed == 0


def test_a_wrong_example_is_found() -> None:
    case = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, None)
    assert doctest.DocTestRunner(verbose=False).run(case, out=lambda text: None).failed == 1
