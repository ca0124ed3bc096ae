"""The three pipes of a worker process, served by a thread: whatever is in them, or is not, nobody waits for them.

Lines of standard output that begin as answers do are answers; others are what a wrapper or an interpreter printed.
"""

from __future__ import annotations

import contextlib
import os
import queue
import selectors
import subprocess
import threading

from resnet_core.workers.child import ANSWER

#: Bytes of the longest answer; arrays go through files.
LONGEST = 64 * 2**20
#: Bytes that are kept of the end of standard error.
KEPT = 64 * 1024
#: Bytes that are kept of a line that is no answer.
KEPT_LINE = 300
#: Bytes that are taken from each pipe of a process that has ended; no pipe holds more, but another may go on writing.
LAST_BYTES = 2 * 2**20

_CHUNK = 64 * 1024


class Pipes:
    """Requests in, answers and messages out, of a process with three pipes; they are this object's from then on.

    `answers` has each answer that was asked for, in order, and None once there will be no more. `too_long` says that an
    answer was longer than `LONGEST`; `other` is the first line that was none.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self.answers: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.too_long = False
        self.other = b""
        self._streams = (process.stdin, process.stdout, process.stderr)
        self._requests, self._output, self._errors = (stream.fileno() for stream in self._streams)
        for descriptor in (self._requests, self._output, self._errors):
            os.set_blocking(descriptor, False)
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        self._unsent, self._asked, self._answered, self._finish = bytearray(), 0, 0, False
        self._lock = threading.Lock()
        self._line, self._tail = bytearray(), bytearray()
        self._selector = selectors.DefaultSelector()
        for descriptor in (self._output, self._errors, self._woken):
            self._selector.register(descriptor, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def send(self, request: bytes) -> None:
        """Send a line, as soon as the process takes it; nothing is said if it never does."""
        with self._lock:
            self._asked += 1
            self._unsent += request
        self._notify()

    def finish(self) -> None:
        """Take what is still in the pipes, and close them. For a process that has ended."""
        self._finish = True
        self._notify()
        self._thread.join()

    @property
    def answered(self) -> bool:
        """Whether the process has ever answered."""
        return self._answered > 0

    def said(self) -> str:
        """The end of what the process has written to standard error."""
        with self._lock:
            return self._tail.decode(errors="replace")

    def _notify(self) -> None:
        with contextlib.suppress(OSError):  # the pipe is full of notices, or finished
            os.write(self._wake, b".")

    def _serve(self) -> None:
        try:
            while not self._finish:
                for key, _ in self._selector.select():
                    self._attend(key.fd)
            for descriptor in (self._errors, self._output):
                left = LAST_BYTES
                while descriptor in self._selector.get_map() and left > 0 and (received := self._receive(descriptor)):
                    left -= received
        finally:
            self.answers.put(None)
            self._selector.close()
            with self._lock:
                for stream in self._streams:
                    stream.close()
                os.close(self._woken)
                os.close(self._wake)
                self._wake = -1

    def _attend(self, descriptor: int) -> None:
        if descriptor == self._woken:
            os.read(descriptor, _CHUNK)
            self._send_some()
        elif descriptor == self._requests:
            self._send_some()
        else:
            self._receive(descriptor)

    def _send_some(self) -> None:
        with self._lock:
            try:
                del self._unsent[: os.write(self._requests, self._unsent[:_CHUNK])]
            except BlockingIOError:
                pass
            except OSError:
                self._unsent.clear()  # it has closed its input, or has ended: `Worker.result` says how
            waits = self._requests in self._selector.get_map()
            if self._unsent and not waits:
                self._selector.register(self._requests, selectors.EVENT_WRITE)
            elif waits and not self._unsent:
                self._selector.unregister(self._requests)

    def _receive(self, descriptor: int) -> int:
        """The number of bytes read; 0 where there are none now, and at the end of the pipe."""
        try:
            chunk = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return 0
        if not chunk:
            self._end(descriptor)
        elif descriptor == self._errors:
            with self._lock:
                self._tail += chunk
                del self._tail[:-KEPT]
        else:
            self._take(chunk)
        return len(chunk)

    def _end(self, descriptor: int) -> None:
        self._selector.unregister(descriptor)
        if descriptor == self._output:
            if not self._line.startswith(ANSWER):
                self._end_line()
            self.answers.put(None)

    def _take(self, chunk: bytes) -> None:
        first, *others = chunk.split(b"\n")
        self._add(first)
        for part in others:
            self._end_line()
            self._add(part)
        if self.too_long:
            self._end(self._output)

    def _add(self, part: bytes) -> None:
        line = self._line
        line += part
        if not line.startswith(ANSWER[: len(line)]):
            del line[KEPT_LINE:]
        elif len(line) > LONGEST:
            self.too_long = True
            line.clear()

    def _end_line(self) -> None:
        line = bytes(self._line)
        self._line.clear()
        if not line.startswith(ANSWER):
            self.other = self.other or line.strip()
            return
        number, _, answer = line.removeprefix(ANSWER).partition(b" ")
        with self._lock:
            # A process that a backend forked may answer once more, and anything may come before it was asked for.
            expected = self._answered < self._asked and number == str(self._answered + 1).encode()
            self._answered += expected
        if expected:
            self.answers.put(answer)
