"""A folder for each test in which runs are made."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_work import Work


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(tmp_path)
