"""docs/api.md is what the docstrings say, and has every public name once."""

from __future__ import annotations

import runpy
from pathlib import Path

import resnet_core as rn

MADE = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "make_api.py"))


def test_the_page_is_up_to_date() -> None:
    """Where it is not: `python docs/make_api.py`."""
    assert MADE["PAGE"].read_text() == MADE["page"]()


def test_every_public_name_is_there_once_and_explained() -> None:
    names = [name for section in MADE["SECTIONS"].values() for name in section]
    assert sorted(names) == sorted(name for name in rn.__all__ if name != "__version__")
    assert [name for name in names if not (getattr(rn, name).__doc__ or "").strip()] == []
