"""What a run says, in a terminal and elsewhere: progress, the time left, colors, and nothing where it is told to."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import termios
from pathlib import Path

import pytest
from run_work import ENVIRONMENT, Work, command, done, resnet

from resnet_core.cli.progress import duration
from resnet_core.cli.status import counted

COLOR = re.compile(r"\x1b\[[0-9;]*[34][0-9][0-9;]*m|\x1b\[[0-9;]*38;5")


def in_a_terminal(*arguments: str | Path, **environment: str) -> tuple[str, str]:
    """(standard output, what a terminal 120 wide received as standard error) of a command that succeeds."""
    own, other = pty.openpty()
    termios.tcsetwinsize(other, (40, 120))
    usual = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    process = subprocess.Popen(
        command(*arguments), stdin=other, stdout=subprocess.PIPE, stderr=other, text=True,
        env={**usual, **ENVIRONMENT, "TERM": "xterm-256color", **environment},
    )  # fmt: skip
    os.close(other)
    received = b""
    while True:
        try:
            part = os.read(own, 65536)
        except OSError:  # the other end has been closed
            break
        if not part:
            break
        received += part
    os.close(own)
    assert process.stdout is not None
    output = process.stdout.read()
    process.stdout.close()
    assert process.wait(60) == 0, received.decode()
    return output, received.decode()


def test_a_terminal_shows_a_bar_with_the_time_left(work: Work) -> None:
    arguments = work.arguments("numpy", "run", "--epochs", "2")
    output, seen = in_a_terminal(*arguments)
    assert COLOR.search(seen)
    assert re.search(r"step \d+/20", seen)
    assert re.search(r"\d+:\d\d:\d\d", seen), "the time left"
    assert " left" not in seen
    assert "\x1b" not in output


def test_without_colors_there_are_none(work: Work) -> None:
    _, seen = in_a_terminal(*work.arguments("numpy", "run", "--epochs", "1"), NO_COLOR="1")
    assert re.search(r"step \d+/10", seen)
    assert not COLOR.search(seen)


def test_a_dumb_terminal_gets_plain_lines(work: Work) -> None:
    _, seen = in_a_terminal(*work.arguments("numpy", "run", "--epochs", "2"), TERM="dumb")
    assert "\x1b" not in seen
    assert re.search(r"epoch 1: .*, about \d+ s left", seen)
    _, seen = in_a_terminal("evaluate", work.folder / "run", TERM="dumb")
    assert seen == ""


def test_elsewhere_each_epoch_is_a_line_with_the_time_left(work: Work) -> None:
    process = done(work.train("numpy", "run", "--epochs", "3"))
    assert "\x1b" not in process.stderr + process.stdout
    assert "\r" not in process.stderr
    lines = [line for line in process.stderr.splitlines() if line.startswith("epoch ")]
    assert [bool(re.search(r" s, about \d+ s left$", line)) for line in lines] == [True, True, False]


def test_the_first_line_and_the_last_say_what_matters(work: Work) -> None:
    process = done(work.train("numpy", "run", "--until", "2"))
    first, *_, files, following = process.stderr.splitlines()
    run = work.folder / "run"
    assert re.match(
        r"resnet20 \(([\d,]+) parameters, all trained, classes = 10, in_channels = 1, 14 x 14\) on data: "
        r"76 training and 24 test pictures; 60 steps, 10 an epoch, by the recipe ",
        first,
    )
    assert files == f"files: {', '.join(str(run / name) for name in FILES)}"
    assert following == f"next: resnet train --out {run} --resume"
    process = done(resnet("train", "--out", run, "--resume"))
    assert "60 steps, 10 an epoch, 20 of them taken, by the recipe" in process.stderr.splitlines()[0]
    assert process.stderr.splitlines()[-1].startswith(f"next: resnet predict {run} ")
    for name in FILES:
        assert (run / name).exists()


FILES = ("best.safetensors", "last.safetensors", "curves.png", "log.jsonl")


def test_quiet_leaves_the_result_and_what_went_wrong(work: Work) -> None:
    output, seen = in_a_terminal(*work.arguments("numpy", "run", "--epochs", "2", "--quiet"))
    assert seen == ""
    assert output.startswith(f"{work.folder / 'run'}: 20 steps, test accuracy ")
    output, seen = in_a_terminal("evaluate", work.folder / "run", "-q")
    assert (seen, output.count("\n")) == ("", 1)
    (work.folder / "run" / "checkpoints" / "step-000000020.safetensors").write_bytes(b"")
    process = done(resnet("train", "--out", work.folder / "run", "--resume", "--quiet"))
    assert process.stderr.count("\n") == 1
    assert "trying the previous one" in process.stderr


def test_quiet_comparisons_and_checks_show_no_progress(tmp_path: Path) -> None:
    for arguments in (
        ["compare", "resnet20", "--backends", "torch", "--level", "shapes"],
        ["conformance", "numpy", "--group", "declaration"],
    ):
        output, seen = in_a_terminal(*arguments)
        assert "\r\x1b[K" in seen
        quiet, nothing = in_a_terminal(*arguments, "--quiet")
        assert nothing == ""
        assert len(quiet.splitlines()) == len(output.splitlines())


def test_evaluation_shows_how_far_it_is(work: Work) -> None:
    shown: list[str] = []
    tell = counted(shown.append, "pictures", every=50)
    for number in range(1, 121):
        tell(number, 120)
    assert shown == ["50 of 120 pictures", "100 of 120 pictures", ""]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min"), (3570, "1 h 00 min"), (3500, "58 min"), (7500, "2 h 05 min")],
)
def test_a_time_is_said_in_the_unit_that_helps(seconds: float, words: str) -> None:
    assert duration(seconds) == words
