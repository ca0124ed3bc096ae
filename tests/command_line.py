"""`resnet` as a user calls it, but in the process of the tests: a new one takes a second to import everything again.

For what needs no framework; whatever a process of its own decides (signals, a terminal, what is installed) has one.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path

import pytest

from resnet_core.cli.commands import main

FRAMEWORKS = ("torch", "tensorflow", "jax")


def in_process(
    *arguments: str | Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Exit code and output of a command. Afterwards, the environment and the warnings' filters are as before.

    Raises AssertionError where the command imported a framework, which the tests' own process is to be without.
    """
    command, output, errors, code = [*map(str, arguments)], io.StringIO(), io.StringIO(), 0
    before = {name for name in FRAMEWORKS if name in sys.modules}
    variables = dict(os.environ)
    os.environ.update(environment or {})
    try:
        with (
            pytest.MonkeyPatch.context() as patch,
            warnings.catch_warnings(),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(errors),
        ):
            warnings.resetwarnings()
            for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
                warnings.simplefilter("ignore", category)  # as Python does, where nobody asks for them
            patch.setattr(warnings, "showwarning", _show)
            patch.setattr(sys, "argv", ["resnet", *command])
            main()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        os.environ.clear()
        os.environ.update(variables)
    imported = {name for name in FRAMEWORKS if name in sys.modules} - before
    assert not imported, f"{command} imported {imported}: it wants a process of its own"
    return subprocess.CompletedProcess(command, code, output.getvalue(), errors.getvalue())


def _show(message: Warning | str, category: type[Warning], file: str, line: int, *_: object) -> None:
    """A warning goes to standard error, and not to pytest's list of them."""
    print(warnings.formatwarning(message, category, file, line), end="", file=sys.stderr)
