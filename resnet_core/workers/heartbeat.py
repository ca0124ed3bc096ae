"""The parents of a run's ranks, where each has its own, on one machine or many: each hears when another fails.

Rank 0's parent is the hub: all others have a connection to it, and none to each other. A parent says every second that
it is there, and at once how its rank ended; the hub hands a failure on. Nothing of this is in a rank: whatever a rank
computes or compiles, and however long that keeps its interpreter, its parent goes on. One that is stopped, or whose
machine is lost, is silent, and so it is found.

All times are counted in looks and not by the clock: while this process is stopped itself, nobody is late.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Mapping
from typing import Protocol

from resnet_core.workers.child import one_line
from resnet_core.workers.messages import Connection

#: Seconds between two looks and between two signs of life; of silence after which a parent is lost; and that a failure
#: may take to arrive before this process ends.
LOOK, BEAT, SILENT, FAREWELL = 0.05, 1.0, 15.0, 2.0

#: What follows in the line that names a rank.
AFTER = "all others were ended. What was saved is whole: --resume goes on from there"


class Others(Protocol):
    """The parents of other ranks, as a parent sees them."""

    #: Whether there are any.
    several: bool
    #: Whether one of them has ended, as it should.
    ended: bool

    def look(self) -> str | None:
        """Called every LOOK seconds: the line of a failure elsewhere, as soon as there is one."""
        ...


class Nobody:
    """All ranks have one parent."""

    several = ended = False

    def look(self) -> str | None:
        return None


class Heard:
    """The parents that this one has met: all others for the hub, which has a `door`, and the hub alone for another.

    `names` has that of each rank, for the line that tells of it. The door is the socket at which they came, closed with
    this: until then the port is this run's, and whoever comes later is told so.
    """

    several = True

    def __init__(
        self, connections: Mapping[int, Connection], names: Mapping[int, str], door: socket.socket | None = None
    ) -> None:
        self.ended = self.cut = False
        self._connections, self._names, self._door = dict(connections), names, door
        self._looks, self._heard = 0, dict.fromkeys(connections, 0)  # at which look there was a sign of life
        self._selector = selectors.DefaultSelector()
        for rank, connection in connections.items():
            self._selector.register(connection, selectors.EVENT_READ, rank)
        if door is not None:
            self._selector.register(door, selectors.EVENT_READ)

    def look(self) -> str | None:
        self._looks += 1
        if self._looks % max(1, round(BEAT / LOOK)) == 0:
            self._tell("beat")
        for key, _ in self._selector.select(0):
            if key.fileobj is self._door:
                self._send_away()
            elif line := self._read(key.data):
                return line
        for rank, heard in self._heard.items():
            if (self._looks - heard) * LOOK >= SILENT:
                return self._lost(rank, f"has not been heard of for {SILENT:g} s: lost, or stopped")
        return None

    def fail(self, line: str) -> None:
        """Tell all how the run failed; nothing more is said to them."""
        self._tell("failed", line)
        self._finish()

    def leave(self) -> None:
        """Tell all that this rank has ended as it should."""
        self._tell("ended")
        self._finish()

    def close(self) -> None:
        """Wait, not for long, until all have heard what was said."""
        self._finish()
        deadline = time.monotonic() + FAREWELL
        for connection in self._connections.values():
            connection.received()
            while not connection.broken and time.monotonic() < deadline:
                time.sleep(0.01)
                connection.received()
            connection.close()
        self._selector.close()
        if self._door is not None:
            self._door.close()

    def _send_away(self) -> None:
        assert self._door is not None
        with contextlib.suppress(OSError), contextlib.closing(Connection(self._door.accept()[0])) as late:
            late.received()
            late.send("no", "a run has begun there, with all its ranks")

    def _read(self, rank: int) -> str | None:
        connection = self._connections[rank]
        messages = connection.received()
        self._heard[rank] = self._looks
        for message in messages:
            match message:
                case ["failed", str(line)]:
                    return self._failed(one_line(line))
                case ["ended"]:
                    self.ended = True
                    self._forget(rank)
                    connection.finish()
                    return None
        if connection.broken:
            self._forget(rank)
            return self._lost(rank, "is lost: the process that watches it has ended")
        return None

    def _lost(self, rank: int, what: str) -> str:
        self.cut = self._door is None
        return self._failed(f"{self._names[rank]} {what}; {AFTER}")

    def _failed(self, line: str) -> str:
        if self._door is not None:
            self.fail(line)
        return line

    def _forget(self, rank: int) -> None:
        """It is no longer waited for."""
        self._heard.pop(rank, None)
        self._selector.unregister(self._connections[rank])

    def _tell(self, *message: str) -> None:
        for connection in self._connections.values():
            connection.send(*message)

    def _finish(self) -> None:
        for connection in self._connections.values():
            connection.finish()
