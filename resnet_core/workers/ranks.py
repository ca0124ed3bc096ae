"""Several processes that train one run, as their parent sees them: started, watched, and ended together.

A parent has all ranks of this machine, or the one that another launcher made of it. It computes nothing, so whatever a
rank does with its framework, its parent is awake: it sees at once that a rank has ended, however it did, and that one
is stopped, which no rank could say of itself. Then it ends the others, which wait for that one inside their framework,
and writes one line that names it. Parents of one rank each hear of each other (`heartbeat`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from resnet_core.errors import InputError, WorkerError
from resnet_core.workers import BROKE_OFF, MARK
from resnet_core.workers.child import one_line
from resnet_core.workers.guard import Guard
from resnet_core.workers.heartbeat import AFTER, LOOK, Nobody, Others
from resnet_core.workers.memory import lacking
from resnet_core.workers.parent import DEFAULTS, signal_name

#: The descriptor on which a rank speaks to the user; what its framework prints goes to its log.
TERMINAL = "RESNET_TERMINAL"
#: The folder with the files that a rank was given by its parent.
FILES = "RESNET_FILES"
#: Exit code of a rank that an error ended which nobody foresaw; its log has it.
CRASHED = 70

#: That of one for which no memory was left; the last line of its log says what it could not have.
OUT_OF_MEMORY = 71

#: That of one that was given what cannot be used, and has said so in a line.
BAD_INPUT = 2

#: Those with which rank 0 has told the user why it failed. With another it has not, as with 127, which was seen where
#: memory was short, and with which the loader of libraries ends a process.
HAS_SAID = (1, BAD_INPUT)

#: The last line of one that Ctrl-C ended while Python itself began, which then ends with 1.
INTERRUPTED = "KeyboardInterrupt"

#: How a rank may end because another did: by an error, or aborted by JAX' client.
FOLLOWING = (CRASHED, -signal.SIGABRT)

#: How a rank ends that has done what it should: finished, or asked to end, with everything saved.
WELL = (0, 130)

#: Seconds that a rank may stand still, which a debugger or Ctrl-Z makes of it; that others may live on after one has
#: failed, of which one may be the reason; and after one has ended well, while rank 0 draws its curves.
STOPPED, GRACE, PATIENCE = 10.0, 5.0, 60.0

#: What is said of one that has ended without the others.
ASKED = "was asked to end before all could agree on a step"

_FORWARDED = ("SIGINT", "SIGTERM", "SIGHUP")
_LAST = 64 * 1024


class Rank:
    """A process and what it leaves: its exit code, and a log."""

    def __init__(
        self,
        number: int,
        command: Sequence[str],
        environment: Mapping[str, str],
        cores: Sequence[int],
        *,
        name: str = "",
        files: Mapping[str, str] | None = None,
    ) -> None:
        """Start it on these cores, all if there are none. Rank 0 has the terminal of this process.

        Lines call it by its `name`. It finds `files`, {name: text}, in a folder of its own, which FILES names.
        """
        self.number, self.stopped, self.name = number, 0.0, name or f"rank {number}"
        self.told: set[int] = set()
        self.broke_off = False  # whether it ended, as it was asked to, without the others
        self._folder = tempfile.TemporaryDirectory(prefix="resnet-", ignore_cleanup_errors=True)
        self._guard = Guard(self._folder.name)
        self._log = Path(self._folder.name) / "log"
        given = Path(self._folder.name) / "files"
        if files is not None:
            given.mkdir()
        for file, text in (files or {}).items():
            (given / file).write_text(text, encoding="utf-8")
        speaks = number == 0
        with ExitStack() as opened:
            log = opened.enter_context(self._log.open("wb"))
            terminal = os.dup(2)
            opened.callback(os.close, terminal)
            own = {MARK: "1", **({TERMINAL: str(terminal)} if speaks else {})}
            if files is not None:
                own[FILES] = str(given)
            opened.enter_context(_on(cores))
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=None if speaks else log,
                stderr=log,
                pass_fds=(terminal,) if speaks else (),
                env={**DEFAULTS, **os.environ, **environment, **own},
                start_new_session=True,  # what a framework starts ends with it
            )
        self._guard.watch(self.process.pid)

    def look(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs. Counts how long it stands still.

        130 also for one that died of a signal that it was sent here: it was asked to end, and did.
        """
        code = self.process.poll()
        if code == 1 and self.said() == INTERRUPTED:
            code = BROKE_OFF
        if code is not None and (-code in self.told or (code == BROKE_OFF and self.told)):
            self.broke_off = True
            return 130
        still = code is None and _stands_still(self.process.pid)
        # In looks, and not by the clock: while this process is stopped too, nobody is late.
        self.stopped = self.stopped + LOOK if still else 0.0
        return code

    def tell(self, number: int) -> None:
        """Send a signal to the process alone."""
        if self.process.poll() is None:
            self.told.add(number)
            self.process.send_signal(number)

    def end(self) -> None:
        """Kill it and what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        """Remove its files."""
        self.end()
        self._folder.cleanup()
        self._guard.close()

    def said(self) -> str:
        """The last line of its log, which is the error's where one ended it."""
        lines = self._lines()
        return one_line(next((line for line in reversed(lines) if line.strip()), "no output").removeprefix("resnet: "))

    def lacked(self, code: int) -> str | None:
        """What it says it could not have, if it ended with this code for want of memory, or with none of ours."""
        if code == OUT_OF_MEMORY:
            return self.said()
        if code != -signal.SIGKILL and code not in (*WELL, *HAS_SAID, CRASHED):
            return next((one_line(line.strip()) for line in reversed(self._lines()) if lacking(line)), None)
        return None

    def _lines(self) -> list[str]:
        """The end of its log."""
        with self._log.open("rb") as file:
            file.seek(max(0, self._log.stat().st_size - _LAST))
            return file.read().decode(errors="replace").splitlines()


def supervise(ranks: Sequence[Rank], others: Others | None = None) -> int:
    """The exit code of a run by these processes, which all have ended. Ctrl-C, SIGTERM and SIGHUP are forwarded.

    `others` are the parents of further ranks. Raises WorkerError, one line that names the rank, where one was killed,
    stands still, or ended with an error that it has not told the user, here or elsewhere; InputError where the reason
    is what it was given, such as a picture that cannot be read.
    """
    with _forwarding(ranks):
        try:
            return _watch(ranks, others or Nobody())
        finally:
            for rank in ranks:
                rank.close()


def _watch(ranks: Sequence[Rank], others: Others) -> int:
    left: float | None = None  # seconds, once one has ended
    while True:
        codes = {rank: rank.look() for rank in ranks}
        for rank, code in codes.items():
            if code is not None and (lacked := rank.lacked(code)) is not None:
                raise WorkerError(_line(rank, f"ran out of memory ({lacked})"))
            # One that aborts may do so for another, as JAX' client does, here or where a parent will be heard first.
            alone = code not in FOLLOWING and not others.several
            if code is not None and code < 0 and (code == -signal.SIGKILL or alone):
                raise WorkerError(_line(rank, _ended(rank, code)))
            if code == BROKE_OFF:
                raise WorkerError(_line(rank, ASKED))
            if rank.stopped >= STOPPED:
                raise WorkerError(_line(rank, f"was stopped, and stood still for {STOPPED:g} s"))
        ended = {rank: code for rank, code in codes.items() if code is not None}
        for rank, code in ended.items():
            if rank.number == 0 and code in HAS_SAID:
                return code
        well = all(code in WELL for code in ended.values())
        # A rank that failed may have done so for one that is not here: its parent will say so.
        if (len(ended) == len(ranks) and (well or not others.several)) or (left is not None and left <= 0):
            return _outcome(codes)
        if message := others.look():
            raise WorkerError(message)
        if ended or others.ended:
            most = PATIENCE if well else GRACE
            left = most if left is None else min(left - LOOK, most)
        time.sleep(LOOK)


def _outcome(codes: Mapping[Rank, int | None]) -> int:
    """The exit code where rank 0 has not said anything, and nobody is waited for any longer."""
    ended = {rank: code for rank, code in codes.items() if code is not None}
    for rank, code in sorted(ended.items(), key=lambda item: item[1] in FOLLOWING):
        if code not in WELL:
            kind = InputError if code == BAD_INPUT else WorkerError
            raise kind(_line(rank, _ended(rank, code)))
    for rank, found in codes.items():
        if found is None:
            raise WorkerError(_line(rank, f"did not end within {PATIENCE:g} s of the others"))
    return max(ended.values())


def _ended(rank: Rank, code: int) -> str:
    return f"was killed by {signal_name(-code)}" if code < 0 else f"ended with exit code {code}: {rank.said()}"


def _line(rank: Rank, what: str) -> str:
    return f"{rank.name} {what}; {AFTER}"


@contextmanager
def _forwarding(ranks: Sequence[Rank]) -> Iterator[None]:
    """Inside, signals that ask to end are for the ranks, which save what they have."""

    def forward(number: int, frame: object) -> None:
        for rank in ranks:
            rank.tell(number)

    numbers = [getattr(signal, name) for name in _FORWARDED if hasattr(signal, name)]
    before: dict[int, Any] = {}
    for number in numbers:
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, forward)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stands_still(process: int) -> bool:
    """Whether a child is stopped. The answer is not taken away: it is the same until the child goes on."""
    with contextlib.suppress(ChildProcessError):
        return os.waitid(os.P_PID, process, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None
    return False


@contextmanager
def _on(cores: Sequence[int]) -> Iterator[None]:
    """Inside, this thread, and what it starts, has these cores; where the system can say so."""
    if not cores or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def shares(processes: int) -> list[list[int]]:
    """The cores of this process divided among so many: each its own, or one where there are too few."""
    if not hasattr(os, "sched_getaffinity"):
        return [[] for _ in range(processes)]
    cores = sorted(os.sched_getaffinity(0))
    cut = [len(cores) * rank // processes for rank in range(processes + 1)]
    return [cores[cut[rank] : cut[rank + 1]] or [cores[rank % len(cores)]] for rank in range(processes)]
