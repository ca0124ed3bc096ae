"""The worked examples of CONTRIBUTING.md, done to a copy of the core as they are printed, and run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()


def section(title: str) -> str:
    """The text below a heading, up to the next one."""
    return re.split(r"\n#+ ", TEXT.split(f"### {title}\n", 1)[1], maxsplit=1)[0]


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of a language, without their indentation."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


@pytest.fixture
def core(tmp_path: Path) -> Path:
    """A copy of the core that the examples may edit."""
    shutil.copytree(ROOT / "resnet_core", tmp_path / "resnet_core", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def edit(path: Path, pattern: str, replacement: str) -> None:
    text = path.read_text()
    changed = re.sub(pattern, lambda match: replacement, text, count=1, flags=re.DOTALL | re.MULTILINE)
    assert changed != text, f"{path.name}: {pattern} is not there"
    path.write_text(changed)


def resnet(core: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`resnet …` with the edited core."""
    environment = {**os.environ, "PYTHONPATH": str(core)}
    command = [sys.executable, "-P", "-m", "resnet_core", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def add_wide_network(core: Path) -> None:
    (entry,) = blocks(section("The fields can say it already"), "python")
    edit(core / "resnet_core" / "zoo.py", r'^    "cifar": \{\n', f'    "cifar": {{\n{entry}')


def add_maximum_in_the_shortcut(core: Path) -> None:
    text, annotation, branch, rule = blocks(section("It needs a new field, or a new value of one"), "python")
    specification, architecture, combinations = (
        core / "resnet_core" / f"{name}.py" for name in ("specification", "architecture", "combinations")
    )
    edit(specification, r'^    "shortcut_pool": [^\n]*\n', textwrap.indent(text, "    "))
    edit(specification, r"^    shortcut_pool: Literal[^\n]*\n", textwrap.indent(annotation, "    "))
    start = '    if kind == "blur":\n'
    edit(architecture, f"^{start}", textwrap.indent(branch, "    ") + start)
    edit(combinations, r"^RULES = \(\n", f"RULES = (\n{textwrap.indent(rule.rstrip(), '    ')},\n")


def test_a_combination_of_fields_runs_without_any_edit(core: Path) -> None:
    (first, *_) = blocks(section("The fields can say it already"), "sh")
    process = resnet(core, *first.split()[1:], "--backends", "torch")
    assert process.returncode == 0, process.stderr
    assert "Equal: resnet20 in torch" in process.stdout


def test_an_entry_of_the_zoo_is_the_whole_edit(core: Path) -> None:
    add_wide_network(core)
    rows = {row["name"]: row for row in json.loads(resnet(core, "list", "--json").stdout)}
    assert rows["wrn_40_8"]["parameters"] == int(re.search(r"with ([\d,]+) parameters", TEXT)[1].replace(",", ""))  # type: ignore[index]
    process = resnet(core, "compare", "wrn_40_8", "--backends", "torch", "--set", "input_size=8")
    assert process.returncode == 0, process.stderr
    assert "Equal: wrn_40_8 in torch" in process.stdout


@pytest.mark.long
def test_a_new_value_of_a_field_is_four_places(core: Path) -> None:
    add_maximum_in_the_shortcut(core)
    show, *rest = (
        blocks(section("It needs a new field, or a new value of one"), "sh")[0].replace("\\\n", "").splitlines()
    )
    assert "MaxPool 3x3, stride 2" in resnet(core, *show.split()[1:]).stdout
    for command in rest:
        process = resnet(core, *command.split()[1:], "--backends", "torch")
        assert process.returncode == 0, process.stderr
        assert process.stdout.rpartition("\n\n")[2].startswith("Equal: resnet18 in torch")


def test_what_the_example_refuses_is_said_in_one_line(core: Path) -> None:
    add_maximum_in_the_shortcut(core)
    (command,) = re.findall(r"`resnet (show resnet50 [^`]*--set output_stride=16)`", TEXT)
    process = resnet(core, *command.split())
    assert process.returncode == 2
    assert process.stderr in blocks(section("It needs a new field, or a new value of one"), "text")


def test_an_edit_that_is_not_there_fails(core: Path) -> None:
    with pytest.raises(AssertionError, match="is not there"):
        edit(core / "resnet_core" / "zoo.py", "no such line", "another")
