"""The rooms of the core: no module imports itself through others, and no arrow runs upward between folders."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

CORE = Path(__file__).parents[2] / "resnet_core"

#: The folders from the ground up: one may import those before it. `heart` is what stands in no folder.
FLOORS = (
    "heart", "presentation", "data", "training", "programs", "workers", "conversion", "prediction", "comparison",
    "difference", "conformance", "lessons", "benchmark", "cli",
)  # fmt: skip


def room(module: str) -> str:
    """`training` for resnet_core.training.recipe, `heart` for resnet_core.tree."""
    parts = module.split(".")
    return parts[1] if len(parts) > 2 else "heart"


def modules() -> dict[str, Path]:
    """{dotted name: file} of the core but for the packages' own __init__ and __main__, which stand above all."""
    return {
        ".".join(("resnet_core", *path.relative_to(CORE).with_suffix("").parts)): path
        for path in CORE.glob("**/*.py")
        if path.name not in ("__init__.py", "__main__.py")
    }


def imports(path: Path, known: set[str]) -> set[str]:
    """The core's modules that a file imports, inside functions and for annotations too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names] + [str(node.module)]
        found |= known & set(names)
    return found


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    files = modules()
    return {name: imports(path, set(files)) - {name} for name, path in files.items()}


def test_the_graph_sees_what_is_there(graph: dict[str, set[str]]) -> None:
    assert "resnet_core.padding" in graph["resnet_core.tree"]
    assert {room(name) for name in graph} <= set(FLOORS)
    assert sum(map(len, graph.values())) > 100


def test_no_module_imports_itself_through_others(graph: dict[str, set[str]]) -> None:
    tuple(TopologicalSorter(graph).static_order())


def test_no_folder_imports_itself_through_others(graph: dict[str, set[str]]) -> None:
    rooms: dict[str, set[str]] = {}
    for name, others in graph.items():
        rooms.setdefault(room(name), set()).update(room(other) for other in others if room(other) != room(name))
    tuple(TopologicalSorter(rooms).static_order())


def test_no_arrow_runs_upward_between_folders(graph: dict[str, set[str]]) -> None:
    upward = {
        f"{name} -> {other}"
        for name, others in graph.items()
        for other in others
        if FLOORS.index(room(other)) > FLOORS.index(room(name))
    }
    assert upward == set()


def test_a_circle_would_be_found() -> None:
    with pytest.raises(CycleError):
        tuple(TopologicalSorter({"a": {"b"}, "b": {"c"}, "c": {"a"}}).static_order())
