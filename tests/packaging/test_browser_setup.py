"""What `.ci/browser` gets for the tests in a browser, and what becomes of them where it cannot."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from browsers import axe_core, chromium

ROOT = Path(__file__).parents[2]
#: Of the system; anything else is what a test puts on the path.
USED = ("bash", "cp", "dirname", "find", "grep", "mkdir", "timeout", "touch")


class Machine:
    """A checkout of its own on a machine with few programs, of which one logs what it is called with."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.programs, self.log = folder / "checkout", folder / "bin", folder / "log"
        for name in (".ci/browser", "tests/browser/package.json", "tests/browser/package-lock.json"):
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.folder / name)
        self.programs.mkdir()
        for name in USED:
            (self.programs / name).symlink_to(shutil.which(name) or "")

    def program(self, name: str, does: str = "") -> None:
        path = self.programs / name
        path.write_text(f'#!/usr/bin/env bash\necho "{name} $*" >>{self.log}\n{does}\n')
        path.chmod(0o755)

    def run(self) -> tuple[str, str, str]:
        """What is required then; what was said; what was called."""
        self.log.write_text("")
        found = subprocess.run(
            [self.folder / ".ci/browser"], env={"PATH": str(self.programs)}, capture_output=True, text=True, check=True
        )
        return found.stdout.strip(), found.stderr, self.log.read_text()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


NPM = 'mkdir -p "$3/node_modules/axe-core" && touch "$3/node_modules/axe-core/axe.min.js"'


def test_what_is_missing_is_installed_once(machine: Machine) -> None:
    # A package manager that makes a program of the package's name, and of npm one that does what npm does.
    made = f'cp "$0" {machine.programs}/${{@: -1}}'
    machine.program(
        "apt-get", f'case "${{@: -1}}" in npm) cp {machine.folder}/npm {machine.programs}/npm ;; *) {made} ;; esac'
    )
    (machine.folder / "npm").write_text(f"#!/usr/bin/env bash\n{NPM}\n")
    (machine.folder / "npm").chmod(0o755)
    required, _, called = machine.run()
    assert required == "chromium axe-core"
    for package in ("chromium", "npm"):
        assert f"install --yes --no-install-recommends {package}\n" in called
    again, said, called = machine.run()
    assert again == "chromium axe-core"
    assert "chromium" not in said
    assert "install --yes --no-install-recommends chromium" not in called


def test_a_machine_without_a_network_says_what_is_not_tested(machine: Machine) -> None:
    machine.program("apt-get", "exit 100")
    required, said, _ = machine.run()
    assert required == ""
    assert "NOT TESTED IN FULL: apt-get could not install chromium" in said
    machine.program("chromium")
    machine.program("npm", "exit 1")
    required, said, _ = machine.run()
    assert required == "chromium"
    assert "NOT TESTED IN FULL: npm could not install axe-core" in said


@pytest.mark.parametrize(
    ("needed", "what", "reason"),
    [
        (chromium, "chromium", "there is no chromium on the path"),
        (axe_core, "axe-core", "there is no axe-core at /none"),
    ],
)
def test_what_is_missing_skips_a_test_and_fails_it_where_it_is_required(
    needed: object, what: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(needed)
    monkeypatch.setenv("PATH", "/none")
    monkeypatch.setenv("AXE_CORE", "/none")
    monkeypatch.setenv("RESNET_REQUIRED", "something else")
    with pytest.raises(pytest.skip.Exception, match=reason):
        needed()
    monkeypatch.setenv("RESNET_REQUIRED", f"something {what}")
    with pytest.raises(pytest.fail.Exception, match=reason):
        needed()


def test_npm_gets_exactly_one_version() -> None:
    asked = json.loads((ROOT / "tests/browser/package.json").read_text())["devDependencies"]
    locked = json.loads((ROOT / "tests/browser/package-lock.json").read_text())["packages"]
    assert {f"node_modules/{name}": version for name, version in asked.items()} == {
        name: entry["version"] for name, entry in locked.items() if name and entry["integrity"].startswith("sha512-")
    }
