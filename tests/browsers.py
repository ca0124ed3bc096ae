"""What the tests in a browser need: Playwright for Python, a Chromium on the path, for some axe-core from npm.

A test that lacks one is skipped, and says so; it fails where RESNET_REQUIRED has "chromium" or "axe-core" in it, as in
`.ci/run`, which installs them (`.ci/browser`). A browser that is there and does not start is a failure anywhere.
axe-core is looked for where AXE_CORE says, or in `.cache/browser`, where `.ci/browser` puts it.
"""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
AXE = Path(__file__).parents[1] / ".cache/browser/node_modules/axe-core/axe.min.js"


def chromium() -> str:
    """The path of the browser that is driven."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        without("chromium", "there is no chromium on the path")
    if find_spec("playwright") is None:
        without("chromium", "playwright is not installed: pip install playwright")
    return found


def axe_core() -> str:
    """The text of the program that finds barriers."""
    path = Path(os.environ.get("AXE_CORE") or AXE)
    if not path.is_file():
        without("axe-core", f"there is no axe-core at {path}: .ci/browser gets it from npm")
    return path.read_text(encoding="utf-8")


def without(what: str, reason: str) -> NoReturn:
    """Skip the test; fail it where it may not be skipped."""
    if what in os.environ.get("RESNET_REQUIRED", "").split():
        pytest.fail(reason)
    pytest.skip(reason)
