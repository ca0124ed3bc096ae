"""Short messages between processes, on one machine or two: JSON, a line each and bounded, over a TCP connection.

Nothing that comes from there is executed, and nobody waits for it: who reads looks for what has come.
"""

from __future__ import annotations

import contextlib
import json
import socket
from typing import Any

#: Bytes of the longest line, and of what may wait to be sent to somebody who does not read.
LONGEST = 4 * 2**20

#: How often is read before somebody else has a turn.
_AT_ONCE = 64


class Connection:
    """One end. It is broken, for good, when the other end has closed it, or has said what is no message."""

    def __init__(self, connection: socket.socket, longest: int = LONGEST) -> None:
        connection.setblocking(False)
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket, self.longest, self.broken = connection, longest, False
        self._unsent, self._read, self._finished = b"", b"", False

    def fileno(self) -> int:
        return self.socket.fileno()

    def send(self, *message: Any) -> None:
        """A message, or as much of it as there is room for now; the rest goes with the next."""
        if self.broken or self._finished:
            return
        self._unsent += json.dumps(message).encode() + b"\n"
        try:
            self._unsent = self._unsent[self.socket.send(self._unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            self._finished = True  # what the other end has said before it left is still to be read
        if len(self._unsent) > LONGEST:
            self.broken = True

    def received(self) -> list[list[Any]]:
        """The messages that have come since, oldest first: lists that begin with a word."""
        for _ in range(_AT_ONCE):
            if self.broken:
                break
            try:
                found = self.socket.recv(2**16)
            except BlockingIOError:
                break
            except OSError:
                found = b""
            self._read += found
            # What is whole in a line is still read; what comes after it is not.
            if not found or len(self._read) - (self._read.rfind(b"\n") + 1) > self.longest:
                self.broken = True
        *lines, self._read = self._read.split(b"\n")
        messages = []
        for line in lines:
            try:
                message = json.loads(line)
            except (ValueError, RecursionError):
                message = None
            if not isinstance(message, list) or not message or not isinstance(message[0], str):
                self.broken = True
                break
            messages.append(message)
        return messages

    def finish(self) -> None:
        """Say that nothing more is sent; the other end can still be heard."""
        if not self._finished:
            self._finished = True
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.socket.close()
