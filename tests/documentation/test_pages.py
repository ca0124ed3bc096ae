"""The pages for users of one framework, and for those who teach: what they print is run as it stands there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from engines import CPU, ENGINES, QUICK

DOCS = Path(__file__).parents[2] / "docs"


def run(folder: Path, command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", *command],
        cwd=folder,
        env={**os.environ, **CPU, **environment},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


@pytest.mark.parametrize(
    ("page", "engine", "words", "file"),
    [
        ("pytorch", "torch", "", "model.pt2"),
        pytest.param("keras", "keras", "stage3_block3_relu2", "saved_model/saved_model.pb", marks=pytest.mark.long),
        pytest.param("jax", "flax", "    block1…block3: 3 x Residual(", "model.stablehlo", marks=pytest.mark.long),
    ],
)
def test_the_blocks_of_a_page_run_as_one_program(page: str, engine: str, words: str, file: str, tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / f"{page}.md").read_text(), re.S)
    assert len(blocks) >= 7
    (tmp_path / "program.py").write_text("".join(blocks))
    process = run(tmp_path, ["program.py"], **{**QUICK, **ENGINES[engine][1]})
    assert process.returncode == 0, process.stderr[-3000:]
    assert words in process.stdout
    assert (tmp_path / file).exists()


COMMANDS = re.findall(r"^\$ resnet (.*)$", (DOCS / "teaching.md").read_text(), re.M)


@pytest.mark.long
def test_the_commands_of_the_page_for_teachers_run(tmp_path: Path) -> None:
    assert len(COMMANDS) > 12
    for command in COMMANDS:
        process = run(tmp_path, ["-m", "resnet_core", *shlex.split(command)])
        assert (process.returncode, process.stderr) == (0, ""), f"{command}: {process.stderr[-1000:]}"
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {
        *(f"resnet18_{name}.py" for name in ("torch", "keras", "flax", "numpy")),
        "resnet50.svg",
        "side_by_side.html",
        "lesson.html",
        "lesson_training.html",
        "lesson_zh.html",
        "lesson_compared.html",
        "resnet20.json",
    }


README = (DOCS.parent / "README.md").read_text()


@pytest.mark.long
def test_the_programs_of_the_readme_run_as_one(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("".join(re.findall(r"```python\n(.*?)```", README, re.S)))
    process = run(tmp_path, ["program.py"], **QUICK)
    assert process.returncode == 0, process.stderr[-3000:]
    assert process.stdout.startswith("Equal: resnet18 in torch and flax has logits, every tap and every gradient equal")


@pytest.mark.long
def test_the_commands_of_the_readme_run(tmp_path: Path) -> None:
    (spec,) = re.findall(r"```toml\n(.*?)```", README, re.S)
    (tmp_path / "my.toml").write_text(spec)
    commands = re.findall(r"^\$ resnet (.*)$", README, re.M)
    assert len(commands) >= 3
    for command in commands:
        process = run(tmp_path, ["-m", "resnet_core", *shlex.split(command, comments=True)])
        assert (process.returncode, process.stderr) == (0, ""), f"{command}: {process.stderr[-1000:]}"
    assert (tmp_path / "result.json").exists()
