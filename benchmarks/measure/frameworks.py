"""One process per framework, which their global switches and threads require."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from usage import FRAMEWORKS

from resnet_core.errors import ResNetError
from resnet_core.workers.parent import Worker

HERE = Path(__file__).parent.parent
TIME_LIMIT = 4 * 3600.0


def add_framework_option(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--frameworks",
        type=_frameworks,
        default=FRAMEWORKS,
        metavar="A,B",
        help=f"some of {','.join(FRAMEWORKS)} (default: all)",
    )


Results = Iterator[tuple[str, dict[str, Any]]]


def in_each_framework(options: Namespace, function: str, **arguments: Any) -> Results:
    """(framework, result) of `function`, a "module:name" next to the scripts, each in a new process.

    A framework that fails is reported on stderr, and its result is {"error": …}; the others still run.
    """
    console = Console(stderr=True)
    for framework in options.frameworks:
        with console.status(f"{framework}: measuring"), Worker(environment=process_environment()) as engine:
            try:
                result, _ = engine.call(
                    function,
                    framework=framework,
                    time_limit=TIME_LIMIT,
                    **arguments,
                )
            except ResNetError as error:
                print(f"{framework}: {error}", file=sys.stderr)
                result = {"error": str(error)}
        yield framework, result


def process_environment() -> dict[str, str]:
    """With which a worker finds the functions next to the scripts."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH"))))}


def _frameworks(text: str) -> tuple[str, ...]:
    wanted = tuple(text.split(","))
    if unknown := [name for name in wanted if name not in FRAMEWORKS]:
        raise ArgumentTypeError(f"{', '.join(unknown)}: not one of {', '.join(FRAMEWORKS)}")
    return wanted
