"""The one door to the terminal: whatever a command prints goes through here, and is escaped.

What comes from a file, a name, a backend or an argument may hold anything: escape sequences, marks that turn the
direction of writing around, halves of characters. JSON is escaped by itself; everything else is here.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable

from resnet_core.errors import ResNetError, printable, printable_lines
from resnet_core.workers.memory import no_memory

#: Characters of a message: the words of something that went wrong may be a file's content.
MOST = 16_000


def say(text: str = "", end: str = "\n") -> None:
    """Print text, of one line or several, to standard output."""
    try:
        print(printable_lines(text), end=end)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard output") from error


def one_line(message: str) -> str:
    """A message as one line that can be printed."""
    line = printable(" ".join(message.split()))
    return line if len(line) <= MOST else f"{line[:MOST]} … ({len(line):,} characters)"


def complain(message: str) -> None:
    """Print what is wrong, or worth knowing, as one line to standard error."""
    print(f"resnet: {one_line(message)}", file=sys.stderr)


def prepare_streams() -> None:
    """See that both streams are there and take every character: one that they have not is escaped."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by who started this: its number must not become another file's
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def exit_code(work: Callable[[], int]) -> int:
    """The exit code of `work`; whatever the user, or the machine, is the reason of becomes one line."""
    code = 0
    try:
        code = _explained(work)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        complain("stopped")
        return 130
    except BrokenPipeError:  # the reader of the output has gone
        _drop_output()
        return 0
    except OSError as error:
        if not code:  # otherwise it has been said
            complain(f"standard output: {error.strerror}")
        _drop_output()
        return code or 2


def _explained(work: Callable[[], int]) -> int:
    try:
        return work()
    except BrokenPipeError:
        raise
    except ResNetError as error:
        complain(str(error))
    except RecursionError:
        complain("something that was given is nested too deeply; expected what a program of this project writes")
    except UnicodeError as error:
        complain(f"a text cannot be used ({error}); expected one that is valid UTF-8")
    except OSError as error:
        where = "" if error.filename is None else f"{error.filename}: "
        complain(f"{where}{error.strerror or error}")
    except Exception as error:  # frameworks have errors of their own for it
        if (reason := no_memory(error)) is None:
            raise
        complain(f"there is not enough memory ({reason}); use less: a smaller network, picture or batch")
    return 2


def _drop_output() -> None:
    """What is left in the buffer of standard output goes nowhere: nobody can take it, also not when Python ends."""
    with contextlib.suppress(OSError, ValueError):  # in a test it is no file
        number = sys.stdout.fileno()
        with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), number)
