"""`resnet train --processes N`, and `resnet train` under somebody else's launcher: the processes of one run."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence

import typer

from resnet_core.cli.output import complain
from resnet_core.errors import InputError, WorkerError
from resnet_core.training.parallel.launched import launched, variables
from resnet_core.training.parallel.place import Place
from resnet_core.workers.ranks import CRASHED, MARK, TERMINAL, Rank, shares, supervise

#: By which variable a process is told how many threads it may have.
THREADS = "OMP_NUM_THREADS"


def own_place() -> Place | None:
    """The place of this process, if it is a rank whose parent watches it."""
    return launched(os.environ) if MARK in os.environ else None


def run_ranks(arguments: Sequence[str], processes: int | None) -> None:
    """Run the command with these arguments in several processes, if that is asked for, and exit as they do.

    Returns where there is nothing to start: for one process, and in a rank. Raises InputError, one line, where a
    launcher has made another number of processes.
    """
    if MARK in os.environ:
        return
    place = launched(os.environ)
    if place is not None and processes not in (None, place.processes):
        raise InputError(
            f"processes: received {processes} where a launcher has made {place.processes}; leave --processes out"
        )
    if place is None and processes in (None, 1):
        return
    command = [sys.executable, "-P", "-m", "resnet_core", "train", *arguments]
    if place is not None:
        ranks = [Rank(place.rank, command, {}, ())]
    else:
        assert processes is not None
        port = _free_port()
        ranks = []
        for number, cores in enumerate(shares(processes)):
            own = variables(Place(number, processes, number, port=port))
            threads = {} if THREADS in os.environ or not cores else {THREADS: str(len(cores))}
            ranks.append(Rank(number, command, {**own, **threads}, cores))
    try:
        code = supervise(ranks)
    except WorkerError as error:
        complain(str(error))
        code = 1
    raise typer.Exit(code)


def speak() -> None:
    """In a rank, let standard error be the user's terminal; what a framework writes there itself goes to the log."""
    if descriptor := os.environ.pop(TERMINAL, ""):
        sys.stderr = os.fdopen(int(descriptor), "w", buffering=1, errors="backslashreplace")


def crashed() -> typer.Exit:
    """In a rank, what an error that nobody foresaw becomes: its traceback is in the log, of which the parent tells."""
    import traceback

    traceback.print_exc(file=sys.__stderr__)
    return typer.Exit(CRASHED)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
