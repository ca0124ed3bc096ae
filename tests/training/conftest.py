"""A folder for each test in which runs are made."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_work import Work


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No index of pictures in the user's own cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(tmp_path)
