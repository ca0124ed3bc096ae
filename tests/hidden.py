"""Processes in which frameworks are not installed, though they are."""

from __future__ import annotations

from pathlib import Path

_HIDING = """
import sys
from importlib.machinery import PathFinder

class Hiding(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {frameworks} else PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Hiding
"""


def hide(folder: Path, *frameworks: str) -> str:
    """A PYTHONPATH with which none of these modules can be found; `folder` receives what Python runs at its start."""
    (folder / "sitecustomize.py").write_text(_HIDING.format(frameworks=frameworks))
    return str(folder)
