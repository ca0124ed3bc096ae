"""No example of a page goes unrun: each is run by a test, or the page says why it is not.

A block that no test runs has `<!-- not run: why -->` above it. What is run here needs no framework; the tests that run
the others are in `RUN_BY`. A command that is not run is at least one that the command line takes, with these options.
"""

from __future__ import annotations

import ast
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

from command_line import in_process
from resnet_core.cli.commands import app

ROOT = Path(__file__).parents[2]
PAGES = [
    *("README.md", "CONTRIBUTING.md", "backends/README.md", "benchmarks/README.md"),
    *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md")),
]
LANGUAGES = ("python", "console", "sh", "toml")

#: Which file, and which test in it, runs the blocks of a language on a page; "here" is this file.
RUN_BY = {
    ("README.md", "python"): ("documentation/test_pages.py", "the_programs_of_the_readme_run_as_one"),
    ("README.md", "console"): ("documentation/test_pages.py", "the_commands_of_the_readme_run"),
    ("README.md", "toml"): ("documentation/test_pages.py", "the_commands_of_the_readme_run"),
    ("CONTRIBUTING.md", "sh"): ("documentation/test_contributing.py", "a_new_value_of_a_field_is_four_places"),
    ("CONTRIBUTING.md", "python"): ("conformance/test_contributing.py", "the_two_files_keep_the_contract_as_they_are"),
    ("CONTRIBUTING.md", "toml"): ("conformance/test_contributing.py", "the_two_files_keep_the_contract_as_they_are"),
    ("docs/api.md", "python"): ("documentation/test_api_page.py", "every_example_of_a_docstring_is_right"),
    ("docs/concepts.md", "python"): ("here", ""),
    ("docs/jax.md", "python"): ("documentation/test_pages.py", "the_blocks_of_a_page_run_as_one_program"),
    ("docs/keras.md", "python"): ("documentation/test_pages.py", "the_blocks_of_a_page_run_as_one_program"),
    ("docs/pytorch.md", "python"): ("documentation/test_pages.py", "the_blocks_of_a_page_run_as_one_program"),
    ("docs/pictures.md", "python"): ("unit/test_docs.py", "the_examples_of_preparations_are_what_their_names_say"),
    ("docs/programs.md", "python"): ("unit/test_docs.py", "the_example_of_a_difference_prints_what_it_says"),
    ("docs/programs.md", "console"): ("here", ""),
    ("docs/site/index.md", "python"): ("here", ""),
    ("docs/site/start.md", "console"): ("here", ""),
    ("docs/spec.md", "python"): ("here", ""),
    ("docs/spec.md", "toml"): ("unit/test_docs.py", "the_examples_are_these_networks"),
    ("docs/teaching.md", "console"): ("documentation/test_pages.py", "the_commands_of_the_page_for_teachers_run"),
    ("docs/training.md", "python"): ("training/test_library.py", "the_example_of_the_page_runs"),
}


@dataclass(frozen=True)
class Block:
    """A block of code of a page, and why it is not run ("" where it is)."""

    page: str
    language: str
    text: str
    reason: str


def blocks_of(page: str, text: str) -> list[Block]:
    found = re.findall(r"^( *)(<!-- not run: ([^\n]+) -->\n *)?```([a-z]+)\n(.*?)^ *```", text, re.M | re.S)
    return [
        Block(page, language, re.sub(rf"(?m)^{indent}", "", code), reason)
        for indent, _, reason, language, code in found
    ]


BLOCKS = [
    block for page in PAGES for block in blocks_of(page, (ROOT / page).read_text()) if block.language in LANGUAGES
]


def commands_of(block: Block) -> list[str]:
    """The lines that begin with `resnet`, without what a shell adds."""
    text = block.text.replace("\\\n", " ")
    mark = r"\$ " if block.language == "console" else ""
    return re.findall(rf"^{mark}resnet (.*)$", text, re.M) if block.language in ("console", "sh") else []


COMMANDS = [command for block in BLOCKS for command in commands_of(block)]


def unaccounted(blocks: list[Block]) -> list[str]:
    return [
        f"{block.page}: {block.text.splitlines()[0]}"
        for block in blocks
        if not block.reason and (block.page, block.language) not in RUN_BY
    ]


def test_every_block_is_run_or_says_why_not() -> None:
    assert len(BLOCKS) > 100
    assert unaccounted(BLOCKS) == []


def test_a_block_that_nobody_runs_is_found() -> None:
    text = "```python\nimport this\n```\n<!-- not run: no -->\n```sh\nrm a\n```\n```sh\nrm b\n```\n"
    assert unaccounted(blocks_of("a.md", text)) == ["a.md: import this", "a.md: rm b"]


def test_every_test_that_runs_blocks_is_there_and_needed() -> None:
    for file, name in set(RUN_BY.values()) - {("here", "")}:
        tree = ast.parse((ROOT / "tests" / file).read_text())
        assert f"test_{name}" in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert set(RUN_BY) <= {(block.page, block.language) for block in BLOCKS if not block.reason}


@pytest.mark.parametrize("command", dict.fromkeys(COMMANDS))
def test_every_command_is_one_that_the_command_line_takes(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    parse(command)


def parse(command: str) -> None:
    """Read the command's options and arguments, and do nothing. Raises what the command line raises."""
    group: Any = typer.main.get_command(app)
    name, *words = shlex.split(command, comments=True)
    group.commands[name].make_context(f"resnet {name}", words)


@pytest.mark.parametrize("command", ["show --wide", "show", "compare a b c", "recipes --depth 1", "shwo resnet18"])
def test_a_command_that_is_none_is_found(command: str) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011 - whose class is typer's own, or a KeyError
        parse(command)


HERE = [place for place, (file, _) in RUN_BY.items() if file == "here"]


@pytest.mark.parametrize(("page", "language"), HERE)
def test_the_blocks_that_need_no_framework_run(
    page: str, language: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.toml").write_text('depths = [1]\nchannels = [4]\nblock = "basic"\n')
    blocks = [block for block in BLOCKS if (block.page, block.language) == (page, language) and not block.reason]
    if page == "docs/site/index.md":  # the README's first program, which has a test of its own
        assert blocks[0].text == next(b.text for b in BLOCKS if (b.page, b.language) == ("README.md", "python"))
        return
    names: dict[str, Any] = {}
    for block in blocks:
        if language == "python":
            exec(block.text, names)
        for command in commands_of(block):
            done = in_process(*shlex.split(command, comments=True))
            assert (done.returncode, done.stderr) == (0, ""), command
