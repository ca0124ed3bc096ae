"""What programs look like: their length, their form, their bytes; and that printing needs no framework."""

from __future__ import annotations

import ast
import importlib
import io
import os
import re
import subprocess
import sys
import time
import tokenize
import tomllib
from pathlib import Path

import pytest
from golden_files import FILES, FOLDER, print_golden
from printing import BACKENDS, print_program

import resnet_core as rn
from hidden import hide
from network_kinds import KINDS

#: Lines of code of resnet18, and of resnet50 and resnet152.
MOST = {"torch": (90, 95), "keras": (90, 90), "numpy": (95, 95), "flax": (125, 125)}


def code_lines(text: str) -> int:
    """Lines that are no blanks, comments or docstrings."""
    kinds = (tokenize.NL, tokenize.NEWLINE, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    lines = {line for t in tokens if t.type not in kinds for line in range(t.start[0], t.end[0] + 1)}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines -= set(range(node.lineno, int(node.end_lineno or 0) + 1))
    return len(lines)


@pytest.mark.parametrize("file", FILES)
def test_a_program_is_printed_as_it_was(file: str) -> None:
    """Where this is meant to change: `python tests/source/golden_files.py`, and read what `git diff` shows."""
    assert print_golden(file) == (FOLDER / f"{file}.py").read_text()


def test_no_file_is_left_over() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == set(FILES)


#: Lines of a program, and what a gate may add: in Flax all that makes a module needs `rngs`, and with it more lines.
LINES = {"torch": 170, "keras": 170, "flax": 180, "numpy": 170}
GATE = {"torch": 0, "keras": 5, "flax": 25, "numpy": 0}


@pytest.mark.parametrize("backend", BACKENDS)
def test_programs_are_as_short_as_one_would_write_them(backend: str, request: pytest.FixtureRequest) -> None:
    first, others = MOST[backend]
    assert code_lines(print_program(rn.spec("resnet18"), backend)) <= first
    for name in ("resnet50", "resnet152"):
        assert code_lines(print_program(rn.spec(name), backend)) <= others
    for name in rn.names() if request.config.getoption("--long") else KINDS:
        text = print_program(rn.spec(name), backend)
        gate = GATE[backend] if rn.spec(name).attention != "none" else 0
        assert text.count("\n") <= LINES[backend] + gate, name
        assert max(map(len, text.splitlines())) <= 88, name


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("shallow", "deep", "depths"),
    [("resnet18", "resnet34", [(2, 3), (2, 4), (2, 6), (2, 3)]), ("resnet50", "resnet152", [(4, 8), (6, 36)])],
)
def test_deeper_networks_differ_in_their_depths_only(
    shallow: str, deep: str, depths: list[tuple[int, int]], backend: str
) -> None:
    """And in what is said of the whole: the name, the layer tree's digest and the number of parameters."""

    def lines(name: str) -> list[str]:
        text = print_program(rn.spec(name), backend).replace(name, "NAME")
        text = re.sub(r"layer tree\s+[0-9a-f]{12}\); yours to\s+edit\.", "layer tree; yours to edit.", text)
        return text.replace(f"{rn.totals(rn.spec(name)).parameters:_}", "COUNT").splitlines()

    changed = [(a, b) for a, b in zip(lines(shallow), lines(deep), strict=True) if a != b]
    assert [tuple(int(re.findall(r"depth=(\d+)", line)[0]) for line in pair) for pair in changed] == depths
    assert all(re.sub(r"depth=\d+", "", a) == re.sub(r"depth=\d+", "", b) for a, b in changed)


@pytest.mark.long
def test_golden_files_are_strictly_typed(request: pytest.FixtureRequest) -> None:
    """By the folder's own settings; what was found is kept for the next run."""
    cache = Path(str(request.config.cache.mkdir("mypy_of_programs")))
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--config-file",
        "mypy.ini",
        "--cache-dir",
        str(cache),
        "--no-error-summary",
    ]
    files = [f"{name}.py" for name in FILES]
    done = subprocess.run([*command, *files], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.stdout + done.stderr == ""


def test_golden_files_are_clean_and_simple() -> None:
    """The folder's own settings: many rules, and no function with more than five ways through it."""
    settings = tomllib.loads((FOLDER / "ruff.toml").read_text())
    assert settings["lint"]["mccabe"]["max-complexity"] == 5
    assert "C90" in settings["lint"]["select"]
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--no-cache", "."],
            cwd=FOLDER,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout


#: Definitions that some frameworks need and others have: layers, and what initial values need.
OWN = {
    "read", "load", "uniform", "linear", "samemaxpool2d", "averagepool", "sigmoid", "standardizedconv",
    "standardizedconv2d",
}  # fmt: skip


@pytest.mark.parametrize(
    "name", ["resnet18", "resnet50", "resnet_v2_50", "resnet20", "resnet50d_se", "resnetv2_50_bit"]
)
def test_the_same_definitions_stand_in_the_same_order_in_every_framework(name: str) -> None:
    def definitions(backend: str) -> list[str]:
        body = ast.parse((FOLDER / f"{name}_{backend}.py").read_text()).body
        names = [node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        plain = [found.replace("_", "").lower() for found in names]
        return [found for found in plain if found not in OWN]

    assert definitions("torch")[:2] == ["conv", "norm"]
    assert all(definitions(backend) == definitions("torch") for backend in BACKENDS)


def test_printing_needs_no_framework(tmp_path: Path) -> None:
    """None can be found, and printing does not look for one; the programs are the same bytes in any process."""
    path = hide(tmp_path, "torch", "tensorflow", "keras", "jax", "flax", "optax")
    program = (
        "import resnet_core as rn, sys\n"
        f"for name in {BACKENDS}: print(rn.source(rn.spec('resnet_v2_50'), name), end='')\n"
        "assert not {'torch', 'keras', 'jax', 'flax'} & sys.modules.keys()"
    )
    expected = "".join(print_program(rn.spec("resnet_v2_50"), backend) for backend in BACKENDS)
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=tmp_path)
        assert done.stdout == expected


def test_the_command_prints_and_writes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "resnet_core", "source", "resnet20", "--backend", "numpy"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed == print_program(rn.spec("resnet20"), "numpy")
    subprocess.run([*command, "-o", str(tmp_path / "program.py")], check=True)
    assert (tmp_path / "program.py").read_text() == printed
    failed = subprocess.run([*command[:-1], "nothing"], capture_output=True, text=True, check=False)
    assert (failed.returncode, failed.stderr.count("\n")) == (2, 1)


def test_the_command_overwrites_nothing_else(tmp_path: Path) -> None:
    """What a reader has made of a program is not lost; the same program again is not written again."""
    file = tmp_path / "program.py"
    command = [sys.executable, "-m", "resnet_core", "source", "resnet20", "--backend", "numpy", "-o", str(file)]

    def run() -> tuple[int, str]:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    assert run() == (0, "")
    before = file.stat()
    assert run() == (0, "")
    assert file.stat().st_ino == before.st_ino
    file.write_text("# mine\n")
    code, said = run()
    assert (code, said.count("\n"), file.read_text()) == (2, 1, "# mine\n")
    assert "is there with other content; remove it, or write to another file" in said
    file.unlink()
    file.mkdir()
    code, said = run()
    assert (code, said.count("\n")) == (2, 1)
    assert "cannot be written (Is a directory); nothing was changed" in said
    assert [path.name for path in tmp_path.iterdir()] == ["program.py"]


def test_the_command_prints_training_by_a_recipe() -> None:
    command = [sys.executable, "-m", "resnet_core", "source", "resnet20", "--backend", "torch"]
    asked = [*command, "--train", "--recipe", "cifar-2015", "--with", "momentum=0.8"]
    printed = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    assert printed == rn.source(rn.spec("resnet20"), "torch", train=rn.recipe("cifar-2015", momentum=0.8))
    failed = subprocess.run([*command, "--recipe", "d2l"], capture_output=True, text=True, check=False)
    assert (failed.returncode, failed.stderr.count("\n")) == (2, 1)
    assert "received without --train" in failed.stderr


def test_a_change_of_the_spec_stands_in_the_header() -> None:
    text = print_program(rn.spec("resnet50", output_stride=8, classes=10), "torch")
    header = " ".join(text.split('"""')[1].split())
    assert "`resnet source resnet50 --backend torch --set classes=10 --set output_stride=8`" in header


def test_printing_takes_no_time() -> None:
    importlib.import_module("resnet_torch.source")
    for name, most in (("resnet152", 0.5), ("resnet1202", 1.0)):
        best = min(_seconds(name) for _ in range(3))
        assert best < most, f"{name}: {best:.2f} s"


def _seconds(name: str) -> float:
    start = time.process_time()
    print_program(rn.spec(name), "torch")
    return time.process_time() - start


@pytest.mark.parametrize("backend", ["torch", "keras", "flax"])
def test_a_program_says_that_it_does_not_end_early(backend: str) -> None:
    """The recipe's patience is for a test accuracy, which the program does not measure."""
    patient = rn.source(rn.spec("resnet20"), backend, train=rn.recipe("cifar-2015", patience=3))
    assert "would end early after three epochs without a better test accuracy" in " ".join(patient.split())
    assert "end early" not in rn.source(rn.spec("resnet20"), backend, train=rn.recipe("cifar-2015"))
    ast.parse(patient)
