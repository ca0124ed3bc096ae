"""One changing line on standard error while a command works, where somebody can see it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from resnet_core.errors import printable

QuietFlag = Annotated[
    bool, typer.Option("--quiet", "-q", help="Only the result, and what went wrong: no progress, no notes.")
]

Status = Callable[[str], None]


def status(*, quiet: bool) -> Status:
    """What shows a message in place of the last one; an empty message clears the line.

    Silent where that is asked for, where standard error is no terminal, and in one that cannot clear a line.
    """
    seen = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    return _show if seen and not quiet else lambda message: None


def counted(show: Status, what: str, every: int = 50) -> Callable[[int, int], None]:
    """Progress in numbers, as a status: "50 of 1,000 pictures"; cleared at the end."""

    def tell(done: int, total: int) -> None:
        if done == total:
            show("")
        elif done % every == 0:
            show(f"{done:,} of {total:,} {what}")

    return tell


def _show(message: str) -> None:
    width = os.get_terminal_size(sys.stderr.fileno()).columns or 80
    message = printable(message)[: width - 1]  # a line that wraps could not be cleared
    print(f"\r\033[K{message}", end="", file=sys.stderr, flush=True)
