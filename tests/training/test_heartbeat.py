"""The parents of a run's ranks on several machines: how they meet, and that none waits for one that is lost."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from resnet_core.errors import InputError, ResNetError, WorkerError
from resnet_core.training.parallel.launched import parents_port, run_name
from resnet_core.workers import heartbeat, meeting, messages
from resnet_core.workers.heartbeat import Heard
from resnet_core.workers.meeting import Seat, meet
from resnet_core.workers.messages import Connection
from resnet_core.workers.ranks import CRASHED

#: Shortened, in seconds: all of what is waited for.
TIMES = {"BEAT": 0.1, "SILENT": 1.5, "STOPPED": 0.5, "GRACE": 0.5}
WAIT = "import time; time.sleep(60)"
#: Computes in C without ever giving up the interpreter, as a compilation may.
BLOCKS = "import ctypes; ctypes.PyDLL(None).usleep(3_000_000)"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def seats() -> Callable[[int], list[Seat]]:
    """Seats of one run, each of a host of its own."""

    def some(count: int) -> list[Seat]:
        port = free_port()
        return [Seat(rank, count, "127.0.0.1", port, f"host{rank}", "run") for rank in range(count)]

    return some


@contextmanager
def meeting_of(seats: list[Seat], orders: Any = None) -> Iterator[list[Any]]:
    """What each has met, in threads, rank 0 last."""
    with ThreadPoolExecutor(len(seats)) as pool:
        futures = [pool.submit(meet, seat, lambda: orders, lambda line: None) for seat in reversed(seats)]
        found = [future.result() for future in reversed(futures)]
    try:
        yield found
    finally:
        with ThreadPoolExecutor(len(seats)) as pool:
            list(pool.map(lambda each: each[0].close(), found))


def looked(heard: Heard, seconds: float = 5.0) -> str | None:
    """The line of a failure elsewhere, if there is one in that time."""
    for _ in range(round(seconds / 0.01)):
        if line := heard.look():
            return line
        time.sleep(0.01)
    return None


def test_all_get_the_orders_of_rank_0(seats: Any) -> None:
    with meeting_of(seats(3), {"resumes": True}) as found:
        assert [orders for _, orders in found] == [{"resumes": True}] * 3
        assert all(looked(heard, 0.2) is None for heard, _ in found)


def test_a_failure_is_told_to_all(seats: Any) -> None:
    """By the hub, since two others do not know each other."""
    with meeting_of(seats(3)) as found:
        found[1][0].fail("rank 1 on host1 was killed")
        assert looked(found[0][0]) == "rank 1 on host1 was killed"
        assert looked(found[2][0]) == "rank 1 on host1 was killed"


def test_one_that_ended_well_is_not_missed(seats: Any) -> None:
    with meeting_of(seats(2)) as ((hub, _), (other, _)):
        other.leave()
        assert looked(hub, 0.3) is None
        assert hub.ended
    with meeting_of(seats(2)) as ((hub, _), (other, _)):
        hub.leave()
        assert looked(other, 0.3) is None
        assert other.ended


def test_silence_counts_the_looks_and_not_the_time(seats: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was stopped itself finds the others as they were."""
    monkeypatch.setattr(heartbeat, "SILENT", 0.5)
    with meeting_of(seats(2)) as ((hub, _), (_, _)):
        time.sleep(1)
        assert hub.look() is None
        line = looked(hub)
    assert line is not None
    assert line.startswith("rank 1 on host1 has not been heard of for 0.5 s: lost, or stopped; all others were ended")


class Parents:
    """Processes of `watching_parent.py`, one for each program."""

    def __init__(self, *programs: str, own: tuple[str, ...] = ()) -> None:
        line = [sys.executable, str(Path(__file__).parent / "watching_parent.py")]
        place = [str(len(programs)), str(free_port())]
        self.processes = [
            subprocess.Popen(
                [*line, str(rank), *place, f"host{rank}", json.dumps(TIMES), program, *(own if rank else ())],
                stdout=subprocess.PIPE,
                text=True,
            )
            for rank, program in enumerate(programs)
        ]
        self.children = [int(self._line(process).removeprefix("met ")) for process in self.processes]

    @staticmethod
    def _line(process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        return process.stdout.readline().strip()

    def end(self, *which: int) -> list[tuple[int, str]]:
        """The exit code and the line of each, or of some; what then still runs is killed."""
        try:
            return [self._ended(self.processes[each]) for each in which or range(len(self.processes))]
        finally:
            for process in self.processes:
                process.kill()
                process.communicate()

    @staticmethod
    def _ended(process: subprocess.Popen[str]) -> tuple[int, str]:
        said, _ = process.communicate(timeout=30)
        return process.returncode, said.strip()


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_is_killed_ends_all(rank: int) -> None:
    parents = Parents(WAIT, WAIT, WAIT)
    os.kill(parents.children[rank], signal.SIGKILL)
    line = f"rank {rank} on host{rank} was killed by SIGKILL (out of memory?); {heartbeat.AFTER}"
    assert parents.end() == [(1, line)] * 3


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_is_stopped_ends_all(rank: int) -> None:
    parents = Parents(WAIT, WAIT)
    os.kill(parents.children[rank], signal.SIGSTOP)
    line = f"rank {rank} on host{rank} was stopped, and stood still for 0.5 s; {heartbeat.AFTER}"
    assert parents.end() == [(1, line)] * 2


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize(
    ("number", "what"),
    [
        (signal.SIGKILL, "is lost: the process that watches it has ended"),
        (signal.SIGSTOP, "has not been heard of for 1.5 s: lost, or stopped"),
    ],
    ids=["killed", "stopped"],
)
def test_a_parent_that_is_lost_ends_all(number: int, what: str, rank: int) -> None:
    """As its machine may be."""
    parents = Parents(WAIT, WAIT)
    parents.processes[rank].send_signal(number)
    assert parents.end(1 - rank) == [(1, f"rank {rank} on host{rank} {what}; {heartbeat.AFTER}")]


def test_a_rank_may_keep_its_interpreter_for_long() -> None:
    """To compile: longer than a silence may last."""
    assert Parents("", BLOCKS).end() == [(0, ""), (0, "")]


def test_a_heartbeat_in_the_process_that_computes_would_not_do() -> None:
    """The same, where the one that says it is there is the one that compiles."""
    (code, line), _ = Parents(WAIT, WAIT, own=(BLOCKS,)).end()
    assert (code, line) == (1, f"rank 1 on host1 has not been heard of for 1.5 s: lost, or stopped; {heartbeat.AFTER}")


def test_the_first_reason_is_told_also_from_elsewhere() -> None:
    """Rank 0 loses the connection to rank 1, and so fails first, or is aborted by its framework."""
    for ends in (f"raise SystemExit({CRASHED})", "import os; os.abort()"):
        parents = Parents(ends, "import os, signal, time; time.sleep(0.3); os.kill(os.getpid(), signal.SIGKILL)")
        line = f"rank 1 on host1 was killed by SIGKILL (out of memory?); {heartbeat.AFTER}"
        assert parents.end() == [(1, line)] * 2


def test_strangers_are_sent_away(seats: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes to the port: nothing that is said there is more than looked at."""
    monkeypatch.setattr(meeting, "HELLO", 0.5)
    own = seats(2)
    hello = ["resnet", "run", 1, 2, "host"]
    with ThreadPoolExecutor(1) as pool:
        hub = pool.submit(meet, own[0], lambda: "orders", lambda line: None)
        for first in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x80\x04\x95" + bytes(100),
            b"[" * 100_000,
            b"x" * 1_000_000,
            b"{}\n",
            b"",  # says nothing
            *(
                json.dumps([*hello[:place], wrong, *hello[place + 1 :]]).encode() + b"\n"
                for place, wrong in ((1, "another"), (2, 0), (2, 2), (2, "1"), (2, True), (3, 3), (4, 7))
            ),
        ):
            with connected(own[0]) as stranger:
                stranger.sendall(first)
                stranger.settimeout(5)
                try:
                    answer = stranger.recv(10_000)
                except ConnectionError:  # it was thrown out before all was said
                    answer = b""
                assert b"orders" not in answer
        other, given = meet(own[1], lambda: None, lambda line: None)
        heard, _ = hub.result(timeout=10)
        assert given == "orders"
        monkeypatch.setattr(meeting, "LEFTOVER", 0.0)
        with ThreadPoolExecutor(1) as pool:  # one more, while the run goes on
            late = pool.submit(meet, own[1], lambda: None, lambda line: None)
            assert looked(heard, 1) is None
            with pytest.raises(InputError, match="a run has begun there, with all its ranks"):
                late.result()
        other.leave()
        heard.leave()
        other.close()
        heard.close()


def connected(seat: Seat) -> socket.socket:
    deadline = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection((seat.address, seat.port))
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_nonsense_from_one_that_has_met_ends_the_run(seats: Any) -> None:
    """It is no parent of this project's, and not listened to."""
    with meeting_of(seats(2)) as ((hub, _), (other, _)):
        (connection,) = other._connections.values()
        connection.socket.sendall(b'"beat"\n')
        line = looked(hub)
        assert line is not None
        assert "rank 1 on host1 is lost" in line


def test_who_does_not_come_is_named(seats: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "MEET", 3)
    monkeypatch.setattr(meeting, "PATIENCE", 1.5)
    own, notes = seats(4)[:2], []
    with ThreadPoolExecutor(2) as pool:
        hub = pool.submit(meet, own[0], lambda: None, notes.append)
        other = pool.submit(meet, own[1], lambda: None, lambda line: None)
        place = f"port {own[0].port} of 127.0.0.1"
        for each in hub, other:
            with pytest.raises(WorkerError, match=f"^ranks 2, 3 of 4 did not come to {place} within 3 s$"):
                each.result()
    assert notes == [f"2 of 4 ranks are here; waiting for ranks 2, 3 at {place}"]
    monkeypatch.setattr(meeting, "MEET", 0.5)
    with pytest.raises(WorkerError, match=f"^rank 1 on host1 has not met rank 0 at {place} within 0.5 s .* refused"):
        meet(own[1], lambda: None, lambda line: None)


def test_what_does_not_fit_is_one_line(seats: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "LEFTOVER", 0.3)
    own = seats(2)
    refusal = pytest.raises(InputError, match=f"^rank 0 on host0 cannot listen at port {own[0].port} ")
    with socket.create_server(("127.0.0.1", own[0].port)), refusal:
        meet(own[0], lambda: None, lambda line: None)
    monkeypatch.setattr(meeting, "MEET", 2.0)
    with ThreadPoolExecutor(1) as pool:
        hub = pool.submit(meet, own[0], lambda: None, lambda line: None)
        wrong = Seat(1, 3, own[1].address, own[1].port, "host1", "run")
        why = "rank 0 has been started as one of 2, and rank 1 as one of 3"
        with pytest.raises(InputError, match=f"^rank 1 on host1 was sent away from .*: {why}; expected"):
            meet(wrong, lambda: None, lambda line: None)
        with pytest.raises(WorkerError, match="did not come"):
            hub.result()


def test_an_error_of_rank_0_is_that_of_all(seats: Any) -> None:
    def damaged() -> None:
        raise InputError("run: run.json is damaged")

    own = seats(2)
    with ThreadPoolExecutor(2) as pool:
        hub = pool.submit(meet, own[0], damaged, lambda line: None)
        other = pool.submit(meet, own[1], damaged, lambda line: None)
        with pytest.raises(ResNetError, match=r"^run: run\.json is damaged$"):
            hub.result()
        with pytest.raises(WorkerError, match=r"^rank 0 on host0: run: run\.json is damaged$"):
            other.result()


def test_messages_are_bounded_and_whole() -> None:
    here, there = map(Connection, socket.socketpair())
    here.send("welcome", {"text": "x" * 100_000})
    deadline = time.monotonic() + 10
    while not (found := there.received()):
        here.send("beat")  # with what did not fit
        assert time.monotonic() < deadline
    assert found[0] == ["welcome", {"text": "x" * 100_000}]
    for _ in range(200):
        here.send("failed", "x" * 100_000)  # nobody reads
    assert here.broken
    assert len(here._unsent) < 2 * messages.LONGEST
    for connection in (here, there):
        connection.close()


def test_what_was_said_before_leaving_is_read() -> None:
    """Also where the next message cannot be sent any more."""
    here, there = map(Connection, socket.socketpair())
    there.send("failed", "why")
    there.close()
    for _ in range(3):
        here.send("beat")
    assert here.received() == [["failed", "why"]]
    assert here.broken
    here.close()


def test_the_parents_port_is_another() -> None:
    assert parents_port(29500) == 19500
    for port in (1024, 11023, 11024, 65535):
        assert 1024 <= parents_port(port) <= 65535
        assert parents_port(port) != port


def test_runs_of_a_launcher_have_names() -> None:
    assert run_name({}) == run_name({"RANK": "1"})
    assert run_name({"PMIX_NAMESPACE": "1"}) != run_name({"PMIX_NAMESPACE": "2"})
    assert run_name({"SLURM_JOB_ID": "1", "SLURM_STEP_ID": "0"}) != run_name(
        {"SLURM_JOB_ID": "1", "SLURM_STEP_ID": "1"}
    )
