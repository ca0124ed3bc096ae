"""`resnet train --processes N`, and `resnet train` under somebody else's launcher: the processes of one run."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import typer

from resnet_core.cli.output import complain
from resnet_core.errors import InputError, WorkerError
from resnet_core.files import read_bytes
from resnet_core.training.parallel.launched import launched, parents_port, run_name, variables
from resnet_core.training.parallel.place import Place
from resnet_core.workers import BROKE_OFF, MARK
from resnet_core.workers.heartbeat import AFTER
from resnet_core.workers.meeting import Seat, meet
from resnet_core.workers.memory import no_memory
from resnet_core.workers.ranks import (
    ASKED,
    BAD_INPUT,
    CRASHED,
    FILES,
    OUT_OF_MEMORY,
    TERMINAL,
    WELL,
    Rank,
    shares,
    supervise,
)

#: By which variable a process is told how many threads it may have.
THREADS = "OMP_NUM_THREADS"
#: Says that MASTER_PORT is torchrun's own, for a store in which PyTorch's ranks meet. It keeps what ranks wrote there
#: that were killed, so that those of a restart may look for them; and no other framework can meet there. So rank 0's
#: machine gives another port.
HELD = "TORCHELASTIC_USE_AGENT_STORE"
#: "1" or "0": whether the run goes on, as rank 0's machine knows.
RESUMES = "RESNET_RESUMES"

#: What all ranks read of a run that goes on: they get it from rank 0's parent.
_DESCRIPTION = ("spec.toml", "recipe.toml", "run.json")
#: Characters of each: all together they are one message.
_LONGEST = 2**20


@dataclass(frozen=True)
class Run:
    """The run that a command was asked for: its folder, and whether it goes on with the one that is there.

    `complete` says that the arguments are enough to begin one too. A launcher starts the same line again after a
    failure: there, such a line goes on where there is a run, and begins it where there is none.
    """

    folder: Path
    resumes: bool
    complete: bool

    def orders(self, port: int) -> dict[str, Any]:
        """What rank 0's parent knows, of several: whether the run goes on, the files of _DESCRIPTION, and the port."""
        resumes = self.resumes and not (self.complete and not (self.folder / "run.json").exists())
        found = [self.folder / name for name in _DESCRIPTION] if resumes else []
        files = {path.name: read_bytes(path, "a run's file", _LONGEST).decode() for path in found if path.exists()}
        return {"resumes": resumes, "files": files, "port": port}

    def told(self) -> Run:
        """In a rank of a launcher's, the run as rank 0's parent knows it, in a folder that is here; otherwise this."""
        given = os.environ.get(RESUMES)
        if given is None:
            return self
        folder = Path(os.environ[FILES]) if FILES in os.environ else self.folder
        return Run(folder, given == "1", self.complete)


def own_place() -> Place | None:
    """The place of this process, if it is a rank whose parent watches it."""
    return launched(os.environ) if MARK in os.environ else None


def run_ranks(arguments: Sequence[str], processes: int | None, run: Run) -> None:
    """Run the command with these arguments in several processes, if that is asked for, and exit as they do.

    Returns where there is nothing to start: for one process, and in a rank. Raises InputError, one line, where a
    launcher has made another number of processes, and what `meet` does.
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
    if place is None:
        assert processes is not None
        code = _all_here(command, processes)
    else:
        code = _one_of_several(command, place, run)
    raise typer.Exit(code)


def _all_here(command: Sequence[str], processes: int) -> int:
    """The exit code of a run whose ranks all are this process's children."""
    port = _free_port()
    ranks = []
    for number, cores in enumerate(shares(processes)):
        own = variables(Place(number, processes, number, port=port))
        threads = {} if THREADS in os.environ or not cores else {THREADS: str(len(cores))}
        ranks.append(Rank(number, command, {**own, **threads}, cores))
    try:
        return supervise(ranks)
    except WorkerError as error:
        complain(str(error))
        return 1


def _one_of_several(command: Sequence[str], place: Place, run: Run) -> int:
    """The exit code of a launcher's process, whose rank is one of the run's.

    The line of a failure is written once on each machine: by the parent of its first rank.
    """
    speaks = place.local_rank == 0

    def note(line: str) -> None:
        if speaks:
            complain(line)

    host = socket.gethostname() or "this host"
    port = parents_port(place.port)
    seat = Seat(place.rank, place.processes, place.address, port, host, run_name(os.environ))
    try:
        others, orders = meet(seat, lambda: run.orders(_free_port("") if HELD in os.environ else place.port), note)
        orders = checked(orders)
    except WorkerError as error:
        note(str(error))
        return 1
    # Rank 0 reads the run itself; on other machines the folder may be another, or none.
    files = orders["files"] if orders["resumes"] and place.rank != 0 else None
    try:
        own = variables(replace(place, port=orders["port"])) if HELD in os.environ else {}
        told = {**own, HELD: "False", RESUMES: "1" if orders["resumes"] else "0"}
        rank = Rank(place.rank, command, told, (), name=seat.name, files=files)
        code = supervise([rank], others)
        if rank.broke_off:  # the others wait for it inside their framework
            others.fail(f"{seat.name} {ASKED}; {AFTER}")
        elif code in WELL:
            others.leave()
        else:
            others.fail(f"{seat.name} ended with exit code {code}, and has said why; {AFTER}")
    except (WorkerError, InputError) as error:
        others.fail(str(error))
        if speaks or others.cut:
            complain(str(error))
        code = BAD_INPUT if isinstance(error, InputError) else 1
    except KeyboardInterrupt:  # while its rank is started, which nobody watches yet
        others.fail(f"{seat.name} {ASKED}; {AFTER}")
        raise
    finally:
        others.close()
    return code


def checked(orders: Any) -> dict[str, Any]:
    """Orders as another machine sent them. Raises WorkerError for what `Run.orders` does not give."""
    match orders:
        case {"resumes": bool(resumes), "files": dict(files), "port": int(port)} if (
            0 < port < 2**16
            and files.keys() <= set(_DESCRIPTION)
            and all(isinstance(text, str) and len(text) <= _LONGEST for text in files.values())
        ):
            return {"resumes": resumes, "files": files, "port": port}
    raise WorkerError("rank 0 gave orders that cannot be read; expected the same version of this project on all hosts")


def speak() -> None:
    """In a rank, let standard error be the user's terminal; what a framework writes there itself goes to the log."""
    if descriptor := os.environ.pop(TERMINAL, ""):
        sys.stderr = os.fdopen(int(descriptor), "w", buffering=1, errors="backslashreplace")


def crashed() -> typer.Exit:
    """In a rank, what an error that nobody foresaw becomes: its traceback is in the log, of which the parent tells."""
    import traceback

    traceback.print_exc(file=sys.__stderr__)
    return typer.Exit(CRASHED)


def in_a_rank(work: Callable[[], int]) -> int:
    """The exit code of `work` in a rank, whose parent says that no memory was left, and to whom: rank 0 as well.

    And that it was interrupted while no step could be agreed on.
    """
    try:
        return work()
    except KeyboardInterrupt:
        complain("stopped")
        return BROKE_OFF
    except Exception as error:
        if (reason := no_memory(error)) is None:
            raise
        sys.stderr = sys.__stderr__  # its log, whose last line the parent tells
        complain(reason)
        return OUT_OF_MEMORY


def end(code: int) -> NoReturn:
    """End a rank at once.

    At an ordinary end, JAX' client waits for minutes for the other ranks where one has failed; and on a busy machine a
    rank of PyTorch's that had done all its work was killed by SIGABRT on its way out, so that the run was said to have
    failed.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _free_port(address: str = "127.0.0.1") -> int:
    with socket.create_server((address, 0)) as server:
        return int(server.getsockname()[1])
