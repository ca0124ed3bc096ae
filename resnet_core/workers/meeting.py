"""How the parents of a run's ranks find each other, before any rank is started.

Rank 0's parent listens, and all others come to it, however long after each other they were started. It then has orders
for all: what only rank 0's machine may know, such as whether there is a run to go on with.
"""

from __future__ import annotations

import contextlib
import errno
import resource
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

from resnet_core.errors import InputError, ResNetError, WorkerError
from resnet_core.workers.child import one_line
from resnet_core.workers.heartbeat import LOOK, Heard
from resnet_core.workers.messages import Connection

#: Seconds that the ranks of a run may be started after each other; until somebody who waits says so; for which a port
#: or a rank may still be that of a run that has just ended; and until a stranger must have said who it is.
MEET, PATIENCE, LEFTOVER, HELLO = 600.0, 10.0, 10.0, 5.0

#: Bytes of a first message, and connections that have not sent one.
_FIRST, _STRANGERS = 4096, 64
_LOCAL = ("127.0.0.1", "::1")

Note = Callable[[str], None]


@dataclass(frozen=True)
class Seat:
    """Which of the parents this is: that of `rank` from 0, on the machine `host`.

    They meet at `port` of `address`, rank 0's machine. `run` is the launcher's name of this run, the same for all; a
    process of another run is sent away.
    """

    rank: int
    ranks: int
    address: str
    port: int
    host: str
    run: str = ""

    @property
    def name(self) -> str:
        """The rank as lines name it."""
        return f"rank {self.rank} on {self.host}"

    @property
    def place(self) -> str:
        return f"port {self.port} of {self.address}"


def meet(seat: Seat, orders: Callable[[], Any], note: Note) -> tuple[Heard, Any]:
    """All parents of the run, and rank 0's orders, which JSON can say; `orders` is called for rank 0 alone.

    `note` is told once if others are waited for. Raises InputError where the port is another's, or two do not fit
    together; WorkerError where not all have come in time, and what `orders` raised.
    """
    return _receive(seat, orders, note) if seat.rank == 0 else _come(seat, note)


def _receive(seat: Seat, orders: Callable[[], Any], note: Note) -> tuple[Heard, Any]:
    _allow_connections(seat.ranks)
    with ExitStack() as opened:
        server = opened.enter_context(_listening(seat))
        server.setblocking(False)
        door = opened.enter_context(closing(_Door(seat, server)))
        begin, told = time.monotonic(), False
        while len(door.here) < seat.ranks - 1:
            waited, missing = time.monotonic() - begin, _ranks(set(range(1, seat.ranks)) - door.here.keys())
            if waited >= MEET:
                line = f"{missing} of {seat.ranks} did not come to {seat.place} within {MEET:g} s"
                door.tell("failed", line)
                raise WorkerError(line)
            if waited >= PATIENCE and not told:
                note(f"{len(door.here) + 1} of {seat.ranks} ranks are here; waiting for {missing} at {seat.place}")
                told = True
            door.look()
        connections, names = door.connections()
        door.close()
        opened.pop_all()
    heard = Heard(connections, names, server)
    try:
        given = orders()
    except BaseException as error:
        heard.fail(f"{seat.name}: {error if isinstance(error, ResNetError) else 'was stopped'}")
        heard.close()
        raise
    for connection in connections.values():
        connection.send("welcome", seat.host, given)
    return heard, given


class _Door:
    """Who comes to rank 0's parent: `here` are those that belong to the run, {rank: (connection, host)}."""

    def __init__(self, seat: Seat, server: socket.socket) -> None:
        self.here: dict[int, tuple[Connection, str]] = {}
        self._seat, self._server = seat, server
        self._strangers: dict[Connection, float] = {}  # since when
        self._selector = selectors.DefaultSelector()
        self._selector.register(server, selectors.EVENT_READ)

    def look(self) -> None:
        """Let in who has come in the next moment, and out who has left."""
        for key, _ in self._selector.select(LOOK):
            if key.fileobj is self._server:
                with contextlib.suppress(OSError):  # it may have left already
                    connection = Connection(self._server.accept()[0], _FIRST)
                    self._selector.register(connection, selectors.EVENT_READ, connection)
                    self._strangers[connection] = time.monotonic()
            else:
                self._hear(key.data)
        late = time.monotonic() - HELLO
        for connection in [each for each, since in self._strangers.items() if since < late]:
            self._drop(connection)
        for connection in list(self._strangers)[_STRANGERS:]:
            self._drop(connection)

    def tell(self, *message: str) -> None:
        """Say something to all that are here."""
        for connection, _ in self.here.values():
            connection.send(*message)

    def connections(self) -> tuple[dict[int, Connection], dict[int, str]]:
        """({rank: connection}, {rank: its name in lines}), which are the caller's from now on."""
        found, self.here = self.here, {}
        names = {rank: f"rank {rank} on {host}" for rank, (_, host) in found.items()}
        return {rank: connection for rank, (connection, _) in found.items()}, names

    def close(self) -> None:
        """Send everybody away who still is here."""
        for connection in [*self._strangers, *(connection for connection, _ in self.here.values())]:
            connection.close()
        self._selector.close()

    def _hear(self, connection: Connection) -> None:
        messages = connection.received()
        if messages and connection in self._strangers:
            rank, host, refusal = _introduced(self._seat, messages[0], self.here)
            if refusal:
                connection.send("no", refusal)
                self._drop(connection)
                return
            self.here[rank] = connection, host
            del self._strangers[connection]
        if connection.broken:  # it may come again
            self.here = {rank: each for rank, each in self.here.items() if each[0] is not connection}
            self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        self._selector.unregister(connection)
        self._strangers.pop(connection, None)
        connection.close()


def _introduced(seat: Seat, message: list[Any], here: dict[int, Any]) -> tuple[int, str, str]:
    """(rank, host, why it is refused) of somebody who has come."""
    match message:
        case ["resnet", str(run), int(rank), int(ranks), str(host)] if 0 < rank < ranks and rank is not True:
            pass
        case _:
            return 0, "", "that is no rank of a run"
    if run != seat.run:
        return rank, host, "another run is here"
    if ranks != seat.ranks:
        return rank, host, f"rank 0 has been started as one of {seat.ranks}, and rank {rank} as one of {ranks}"
    if rank in here:
        return rank, host, f"rank {rank} is there already, from {here[rank][1]}"
    return rank, one_line(host)[:100], ""


def _come(seat: Seat, note: Note) -> tuple[Heard, Any]:
    begin, told, why, refused = time.monotonic(), False, "", 0.0
    while True:
        waited = time.monotonic() - begin
        if waited >= MEET:
            raise WorkerError(f"{seat.name} has not met rank 0 at {seat.place} within {MEET:g} s ({why})")
        if waited >= PATIENCE and not told and why:
            note(f"{seat.name} waits for rank 0 at {seat.place} ({why})")
            told = True
        try:
            connection = Connection(socket.create_connection((seat.address, seat.port), timeout=HELLO))
        except OSError as error:
            why = error.strerror or str(error) or type(error).__name__
            time.sleep(4 * LOOK)
            continue
        connection.send("resnet", seat.run, seat.rank, seat.ranks, seat.host)
        answer: list[Any] | None = None
        try:
            answer = _answer(connection, begin)
        finally:
            if answer is None or answer[0] != "welcome":
                connection.close()
        match answer:
            case ["welcome", str(host), given]:
                names = {0: f"rank 0 on {one_line(host)[:100]}"}
                return Heard({0: connection}, names), given
            case ["failed", str(line)]:
                raise WorkerError(one_line(line))
            case ["no", str(reason)]:
                why = one_line(reason)
                refused = refused or time.monotonic()
                if time.monotonic() - refused > LEFTOVER:
                    raise InputError(
                        f"{seat.name} was sent away from {seat.place}: {why}; expected this run's MASTER_ADDR and "
                        "MASTER_PORT"
                    )
            case _:
                why = "it gave no answer"
        time.sleep(4 * LOOK)


def _answer(connection: Connection, begin: float) -> list[Any] | None:
    """The first message, which may take as long as others take to come; None where the connection has ended."""
    while time.monotonic() - begin < MEET + HELLO:  # rank 0's parent knows who is missing
        if messages := connection.received():
            return messages[0]
        if connection.broken:
            return None
        time.sleep(LOOK)
    return None


def _listening(seat: Seat) -> socket.socket:
    """Only on this machine where all ranks are here. A port that was another's a moment ago is waited for."""
    begin = time.monotonic()
    while True:
        try:
            if seat.address in _LOCAL:
                family = socket.AF_INET6 if ":" in seat.address else socket.AF_INET
                return socket.create_server((seat.address, seat.port), family=family, backlog=1024)
            if socket.has_dualstack_ipv6():
                return socket.create_server(("", seat.port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)
            return socket.create_server(("", seat.port), backlog=1024)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() - begin > LEFTOVER:
                raise InputError(
                    f"{seat.name} cannot listen at port {seat.port} ({error.strerror}), where the other ranks come to "
                    "it; another MASTER_PORT for this run moves it"
                ) from error
            time.sleep(4 * LOOK)


def _ranks(missing: set[int]) -> str:
    names = ", ".join(map(str, sorted(missing)[:8])) + (" …" if len(missing) > 8 else "")
    return f"rank {names}" if len(missing) == 1 else f"ranks {names}"


def _allow_connections(count: int) -> None:
    """As many open files as a large run needs, where the system lets a process have them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 256
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
