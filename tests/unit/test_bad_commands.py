"""Bad inputs over all commands, from a grammar (`tests/bad_inputs.py`), and the rules that each command keeps.

A command ends with 0, 1 or 2, and without a traceback; one that is refused says so in one line, and nothing else,
before any framework starts; no character that steers a terminal is printed; nothing is left behind.
"""

from __future__ import annotations

import gzip
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperCommand

from bad_inputs import WORKING, Case, cases, commands, write_all
from command_line import in_process
from resnet_core import fields, safetensors_file, specification, weight_file
from resnet_core.cli import output
from resnet_core.cli.options import Command
from resnet_core.data import archives, readers
from resnet_core.training import run_folder

Run = Callable[[Case], "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with every file that the commands name, as the current one; temporary files have their own."""
    folder = tmp_path_factory.mktemp("bad")
    with pytest.MonkeyPatch.context() as patch:
        (folder / "place").mkdir()
        (folder / "temporary").mkdir()
        patch.chdir(folder / "place")
        patch.setenv("TMPDIR", str(folder / "temporary"))
        patch.setenv("RESNET_DATA", str(folder / "nothing"))
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setattr(tempfile, "tempdir", None)
        write_all(folder / "place")
        yield folder


def here(case: Case) -> subprocess.CompletedProcess[str]:
    """The command in this process; an exception that nobody caught is what a process would print of it."""
    try:
        return in_process(*case.arguments)
    except Exception:
        return subprocess.CompletedProcess(case.arguments, 1, "", traceback.format_exc())


def apart(case: Case) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "resnet_core", *case.arguments]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


def broken_rules(case: Case, done: subprocess.CompletedProcess[str]) -> Iterator[str]:
    """What a command did that none may do."""
    if "Traceback" in done.stderr:
        yield f"a traceback: {done.stderr.strip().splitlines()[-1][:200]}"
        return
    if done.returncode not in (0, 1, 2):
        yield f"exit code {done.returncode}"
    if case.refused and done.returncode != 2:
        yield f"not refused: exit code {done.returncode}, {done.stderr[:200]!r}"
    for name, text in (("output", done.stdout), ("errors", done.stderr)):
        if bad := {character for character in text if not character.isprintable()} - {"\n"}:
            yield f"{sorted(bad)} in its {name}"
    if done.returncode == 2:
        if done.stdout:
            yield f"refused, and prints {done.stdout[:80]!r}"
        if len(done.stderr.splitlines()) != 1 or not done.stderr.startswith("resnet: "):
            yield f"refused in {len(done.stderr.splitlines())} lines: {done.stderr[:200]!r}"


def found_in(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*")}


def violations(chosen: list[Case], place: Path, run: Run = here) -> list[str]:
    """All of them, a line each."""
    found, before = [], found_in(place)
    for case in chosen:
        done = run(case)
        after = found_in(place) if run is here else before
        said = [*broken_rules(case, done), *(f"leaves {path}" for path in sorted(after - before))]
        before = after
        found += [f"{case.name}: {rule}" for rule in said]
    return found


def test_the_grammar_covers_every_command_and_is_large() -> None:
    assert set(WORKING) == set(commands())
    assert len(cases()) > 2000
    assert sum(case.refused for case in cases()) > 800


def test_every_bad_command_keeps_the_rules(place: Path) -> None:
    assert violations(cases(), place) == []


#: {guard: (module, name, what stands in its place, the cases that show it by how they begin)}.
GUARDS: dict[str, tuple[Any, str, Any, tuple[str, ...]]] = {
    "the door to the terminal": (output, "printable", str, ("show escape.toml", "data missing.npz")),
    "failures in one line": (output, "_explained", lambda work: work(), ("show spec missing",)),
    "values of an option": (Command, "parse_args", TyperCommand.parse_args, ("source --recipe empty",)),
    "values of a network": (specification, "MOST_VALUES", 10**18, ("show --set channels=[",)),
    "blocks of a network": (specification, "MOST_BLOCKS", 10**9, ("show --set depths=[2001]",)),
    "maps of a network": (specification, "MOST_MAP", 10**18, ("show --set input_size=",)),
    "whole characters": (specification, "require_characters", lambda *_: None, ("show --set name='\udcff'",)),
    "the length of a text": (fields, "MOST_TEXT", 10**9, ("recipes many_recipe.toml", "show large.toml")),
    "the length of an integer": (fields, "_BITS", 10**9, ("show --set 'shortcut_kernel' '0xfff",)),
    "keys that are there once": (fields, "_once", dict, ("show twice.json",)),
    "the length of a header": (safetensors_file, "MOST", 2**70, ("show length.safetensors",)),
    "the digest of a file": (
        weight_file, "file_digest", lambda _, metadata: metadata["digest"], ("certify epsilon.safetensors",),
    ),
    "damage of an archive": (archives, "DAMAGED", (), ("data changed.npz", "data cifar_body", "data idx_body")),
    "the CRC of gzip": (gzip._GzipReader, "_read_eof", lambda self: self._fp.read(8), ("data cifar_crc",)),  # type: ignore[attr-defined]
    "the number of classes": (readers, "MOST_CLASSES", 2**65, ("data label64.npz",)),
    "records of a log": (run_folder, "_require_record", lambda record: None, ("curves log_object", "curves log_none")),
}  # fmt: skip


@pytest.mark.parametrize("guard", GUARDS)
def test_a_guard_that_is_taken_out_is_missed(guard: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, name, instead, beginnings = GUARDS[guard]
    chosen = [case for case in cases() if case.name.startswith(beginnings)]
    assert len(chosen) >= len(beginnings)
    assert violations(chosen, place) == []
    monkeypatch.setattr(module, name, instead)
    assert violations(chosen, place)


def test_some_of_them_as_processes(place: Path, request: pytest.FixtureRequest) -> None:
    """Sixty, spread over all; with --long every one."""
    every = cases()
    step = 1 if request.config.getoption("--long") else len(every) // 60
    before = found_in(place)
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(apart, every[::step]))
    rules = [
        f"{case.name}: {rule}"
        for case, one in zip(every[::step], done, strict=True)
        for rule in broken_rules(case, one)
    ]
    assert rules == []
    assert found_in(place) == before
