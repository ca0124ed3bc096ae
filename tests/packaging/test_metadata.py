"""What is installed is what is in the repository: packages, entry points and extras belong together."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def backend_packages() -> list[str]:
    return sorted(path.parent.name for path in ROOT.glob("backends/*/__init__.py"))


def test_the_wheel_holds_the_core_and_every_backend(project: dict[str, Any]) -> None:
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert sorted(packages) == sorted(["resnet_core", *(f"backends/{name}" for name in backend_packages())])
    assert not (ROOT / "backends" / "__init__.py").exists()  # a source root, not a package


def test_every_backend_is_registered_and_has_its_extra(project: dict[str, Any]) -> None:
    registered = project["project"]["entry-points"]["resnet_core.backends"]
    assert sorted(registered.values()) == backend_packages()
    extras = project["project"]["optional-dependencies"]
    frameworks = set(registered) - {"numpy"}  # which the core needs anyway
    for name in frameworks:
        assert any(line.startswith(name) for line in extras[name])
    everything = [*(name for name in registered if name in frameworks), "train", "tensorboard", "data"]
    assert extras["all"] == [f"resnet-core[{','.join(everything)}]"]


def test_the_core_depends_on_no_framework(project: dict[str, Any]) -> None:
    names = ("torch", "tensorflow", "keras", "jax", "flax", "optax")
    assert not [line for line in project["project"]["dependencies"] if line.startswith(names)]


def test_the_lock_has_every_version_of_the_constraints_with_hashes() -> None:
    text = (ROOT / "requirements.lock").read_text()
    locked = {plain(name): version for name, version in re.findall(r"^([\w.-]+)==(\S+) \\\n    --hash=", text, re.M)}
    assert len(locked) == text.count("==")
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "#" not in line)
    pinned.pop("torch")  # which is installed before, without a hash
    assert {plain(name): locked.get(plain(name)) for name in pinned} == {plain(k): v for k, v in pinned.items()}


def plain(name: str) -> str:
    return re.sub("[._]", "-", name).lower()


def test_every_tool_of_the_extras_is_pinned(project: dict[str, Any]) -> None:
    pinned = {plain(line.split("==")[0]) for line in (ROOT / "constraints.txt").read_text().splitlines()}
    extras = project["project"]["optional-dependencies"]
    for extra in ("test", "browser", "docs", "dev"):
        assert {plain(line.split(">=")[0]) for line in extras[extra]} <= pinned
