"""The terminal: one door, through which nothing passes that steers it, and which takes every failure in one line."""

from __future__ import annotations

import ast
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text

import resnet_core
from resnet_core.cli import output, tables
from resnet_core.cli.console import PrintableConsole
from resnet_core.cli.output import MOST, complain, exit_code, say
from resnet_core.cli.progress import TerminalReporter
from resnet_core.errors import InputError, printable, printable_lines
from resnet_core.presentation.figure_file import new_figure, write_figure

STEERING = "\x1b[31m \x1b]0;title\x07 \x9b2J \u202e \u2066 \u200b \udcff \x00 \r \x7f"
SAFE = "[red] Größe 模型 [/red]"


def steers(text: str) -> set[str]:
    """The characters of a text that a terminal would not print, but for ends of lines."""
    return {each for each in text if not each.isprintable()} - {"\n"}


def test_everything_that_steers_is_escaped_and_nothing_else() -> None:
    assert not steers(printable(STEERING))
    assert printable(SAFE) == SAFE
    assert printable("\x1b\n") == "\\x1b\\n"
    assert printable_lines("\x1b\n\x1b") == "\\x1b\n\\x1b"


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize(
    "shown",
    [STEERING, Text(STEERING), tables.fitted_table([tables.Column(STEERING, [STEERING])])],
    ids=["text", "rich text", "table"],
)
def test_every_way_to_the_terminal_escapes(
    shown: str | Text | Table, terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(PrintableConsole, "is_terminal", terminal)
    tables.show(shown)
    say(STEERING)
    complain(STEERING)
    reporter = TerminalReporter()
    reporter.warn(STEERING)
    reporter.note(STEERING)
    captured = capsys.readouterr()
    assert "\\x1b[31m" in captured.out
    assert captured.err.count("\\x1b[31m") == 3
    for text in captured:
        assert not steers(text.replace("\x1b[1m", "").replace("\x1b[0m", ""))  # rich's own: a heading is bold


def test_brackets_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    tables.show(tables.fitted_table([tables.Column("name", [SAFE])]))
    assert SAFE in capsys.readouterr().out


def test_a_message_of_megabytes_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    complain("x" * 20_000_000)
    assert len(capsys.readouterr().err) < MOST + 100


def test_nothing_else_in_the_command_line_prints() -> None:
    """`print` and rich's own console only where the door is."""
    allowed = {"output.py": {"print"}, "status.py": {"print"}, "tables.py": set[str](), "console.py": {"Console"}}
    for file in sorted(Path(resnet_core.__file__).with_name("cli").glob("*.py")):
        called = {
            node.func.id
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("print", "Console")
        }
        asked = {"Console"} if file.name in ("tables.py", "difference.py") else set()  # for a width, never to print
        assert called <= allowed.get(file.name, set()) | asked, file


def failing(error: BaseException) -> Callable[[], int]:
    def work() -> int:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (InputError("bad\nthing"), 2, "resnet: bad thing"),
        (MemoryError(), 2, "resnet: there is not enough memory (no more can be had)"),
        (MemoryError("Unable to allocate 7.28 TiB"), 2, "(Unable to allocate 7.28 TiB)"),
        (
            RuntimeError("err == 0. DefaultCPUAllocator: can't allocate memory: you tried to"),
            2,
            "can't allocate memory",
        ),
        (RecursionError("maximum recursion depth exceeded"), 2, "nested too deeply"),
        (OSError(28, "No space left on device"), 2, "resnet: No space left on device"),
        (
            PermissionError(13, "Permission denied", "run\x1b/run.json"),
            2,
            "resnet: run\\x1b/run.json: Permission denied",
        ),
        (UnicodeEncodeError("utf-8", "a\ud800", 1, 2, "surrogates not allowed"), 2, "valid UTF-8"),
        (KeyboardInterrupt(), 130, "resnet: stopped"),
        (BrokenPipeError(), 0, ""),
    ],
)
def test_a_failure_is_one_line_and_its_exit_code(
    error: BaseException, code: int, words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "_drop_output", lambda: None)
    assert exit_code(failing(error)) == code
    said = capsys.readouterr().err
    assert words in said
    assert len(said.splitlines()) <= 1


def test_a_mistake_of_the_program_is_not_hidden() -> None:
    with pytest.raises(TypeError):
        exit_code(failing(TypeError("a mistake")))


def resnet(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "resnet_core", *arguments]
    return subprocess.run(command, text=True, check=False, timeout=120, stderr=subprocess.PIPE, **options)  # type: ignore[call-overload, no-any-return]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_standard_output_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = resnet("list", "--json", stdout=full)
    assert (done.returncode, done.stderr) == (2, "resnet: standard output: No space left on device\n")


def test_a_terminal_of_few_characters_gets_them_escaped() -> None:
    plain = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = resnet("show", "resnet18", "--set", "name=Größe", stdout=subprocess.PIPE, env=plain)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u2026" in done.stdout or "1 alike" not in done.stdout
    assert done.stdout.isascii()


@pytest.mark.skipif(os.name != "posix", reason="a shell closes descriptors")
@pytest.mark.parametrize(("closed", "code"), [("2>&-", 2), (">&-", 2), (">&- 2>&-", 2)])
def test_a_closed_stream_changes_no_exit_code(closed: str, code: int, tmp_path: Path) -> None:
    """And no file that is opened later gets what was meant for it."""
    command = f"{sys.executable} -m resnet_core show no-such-network {closed}"
    assert subprocess.run(command, shell=True, check=False, stdin=subprocess.DEVNULL).returncode == code


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("module", ["typer", "resnet_core.cli.commands", "resnet_core.analysis"])
def test_a_stop_while_it_is_imported_is_one_line(module: str) -> None:
    """Ctrl-C at the import of a module, whichever."""
    program = f"""
import builtins, os, signal, sys
real = builtins.__import__
def stopping(name, *arguments, **named):
    if name == {module!r}:
        builtins.__import__ = real
        os.kill(os.getpid(), signal.SIGINT)
    return real(name, *arguments, **named)
signal.signal(signal.SIGINT, signal.default_int_handler)
builtins.__import__ = stopping
sys.argv = ["resnet", "list"]
from resnet_core.__main__ import start
start()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "resnet: stopped\n")


def test_importing_the_package_alone_takes_nothing_that_could_be_stopped() -> None:
    program = "import sys, resnet_core, resnet_core.__main__; print({'numpy', 'msgspec', 'typer'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_an_interrupt_is_ignored_only_at_the_end() -> None:
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


@pytest.mark.parametrize("name", ["$\\frac{$", "模型 \x1b[31m", "a $ b $ c", "_^"])
def test_a_name_is_drawn_as_it_is(name: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / "figure.svg"
    figure = new_figure("figure", file)
    axes = figure.subplots()
    axes.set_title(name)
    axes.set_xticks([0], [printable(name)])
    write_figure(figure, file)
    text = file.read_text(encoding="utf-8")
    assert text.count(printable(name).replace("&", "&amp;")) >= 1
    assert not steers(text)
    write_figure(figure, tmp_path / "figure.png")  # whose font may not have every sign: no warning


def test_streams_take_every_character() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    before = sys.stdout
    try:
        sys.stdout = stream
        output.prepare_streams()
        say("Größe …")
        stream.flush()
    finally:
        sys.stdout = before
    assert raw.getvalue() == b"Gr\\xf6\\xdfe \\u2026\n"
