"""The parent's side of a worker process: start it, send requests, and survive whatever it does.

Frameworks have process-global switches and conflicting shared libraries, so each compared backend runs in its own
process, and if needed in its own environment. If one crashes, is killed or hangs, it raises a WorkerError here and
does no other harm.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from resnet_core.errors import InputError, ResNetError, WorkerError
from resnet_core.workers import TIME_LIMIT
from resnet_core.workers.child import Arrays, error_class, one_line, read_arrays, write_arrays
from resnet_core.workers.guard import Guard
from resnet_core.workers.pipes import LONGEST, Pipes

#: What every worker is started with unless the user says otherwise. Feature maps are allocated and freed anew for every
#: layer, and memory fresh from the system comes page by page: with huge pages (glibc from 2.35 on), PyTorch predicts
#: and trains up to 1.3 times as fast, according to the processor.
DEFAULTS = {"PYTHONUNBUFFERED": "1", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}

#: Seconds between two looks at whether the process still lives, and for it to end after it has closed its pipes, or
#: was killed.
_LOOK, _END = 0.1, 5.0


class Worker:
    """A long-lived worker process. Use as a context manager; requests are answered in order.

    `python` is the interpreter, by default this one; its environment needs this package and the framework.
    `environment` replaces environment variables; `defaults` (for example from `resnet_core.backend.environment`) sets
    those that are not set. Raises InputError if the interpreter cannot be started.
    """

    def __init__(
        self,
        python: str | None = None,
        environment: Mapping[str, str] | None = None,
        defaults: Mapping[str, str] | None = None,
    ) -> None:
        interpreter = python or sys.executable
        try:
            self._folder = tempfile.TemporaryDirectory(prefix="resnet-", ignore_cleanup_errors=True)
        except OSError as error:
            raise InputError(f"a folder for temporary files cannot be made ({_reason(error)}); see TMPDIR") from error
        self._guard = Guard(self._folder.name)
        try:
            self._process = subprocess.Popen(
                [interpreter, "-P", "-m", "resnet_core.workers.child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env={**DEFAULTS, **(defaults or {}), **os.environ, **(environment or {})},
                start_new_session=True,  # so that processes started by a framework end with it
            )
        except (OSError, ValueError) as error:  # a ValueError for a NUL character in its name
            self._folder.cleanup()
            self._guard.close()
            raise InputError(f"{one_line(interpreter)} cannot be started ({_reason(error)})") from error
        self._guard.watch(self._process.pid)
        self._pipes = Pipes(self._process)
        self._submitted = self._answered = 0

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def call(
        self, function: str, arrays: Arrays | None = None, *, time_limit: float = TIME_LIMIT, **arguments: Any
    ) -> tuple[Any, Arrays]:
        """(result, arrays) of a request; `function` is "module:name", or a name in `resnet_core.workers.tasks`.

        Raises as `result` does.
        """
        self.submit(function, arrays, **arguments)
        return self.result(time_limit)

    def submit(self, function: str, arrays: Arrays | None = None, **arguments: Any) -> None:
        """Send a request without waiting for its answer. Raises InputError where the arrays cannot be written."""
        sent = None
        self._submitted += 1
        if arrays is not None:
            sent = str(self._file("request", self._submitted))
            try:
                write_arrays(sent, arrays)
            except OSError as error:
                raise InputError(
                    f"{self._folder.name}: arrays for a worker process cannot be written ({_reason(error)}); "
                    "TMPDIR says where temporary files go"
                ) from error
        name = function if ":" in function else f"resnet_core.workers.tasks:{function}"
        answer = str(self._file("answer", self._submitted))
        request = {"function": name, "arguments": arguments, "arrays": sent, "answer": answer}
        self._pipes.send(json.dumps(request).encode() + b"\n")  # if it has ended, `result` says how

    def result(self, time_limit: float = TIME_LIMIT) -> tuple[Any, Arrays]:
        """The oldest pending answer. Raises WorkerError, or the ResNetError that the function raised."""
        answer = self._answer(time_limit)
        self._answered += 1
        path = self._file("answer", self._answered)
        try:
            found = json.loads(answer)
            if "error" in found:
                error: ResNetError = error_class(found["kind"])(one_line(found["error"]))
                raise error
            result, arrays = found["result"], read_arrays(path) if found["arrays"] else {}
        except ResNetError:
            raise
        except Exception as error:
            self.kill()
            said = one_line(answer[:80].decode(errors="replace"))
            raise WorkerError(f"its process answered {said!r}, which cannot be read ({_reason(error)})") from None
        for leftover in (path, self._file("request", self._answered)):
            with contextlib.suppress(OSError):
                leftover.unlink(missing_ok=True)
        return result, arrays

    def kill(self) -> None:
        """Kill the process and everything it started, but for what has left its session."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END)

    def close(self) -> None:
        """End the process and remove its files."""
        self.kill()
        self._pipes.finish()
        self._folder.cleanup()
        self._guard.close()

    def log(self) -> str:
        """The end of what the process has written to standard error."""
        return self._pipes.said()

    def _file(self, role: str, number: int) -> Path:
        return Path(self._folder.name) / f"{role}{number}.arrays"

    def _answer(self, time_limit: float) -> bytes:
        """The next answer as it came. Raises WorkerError where there is none, within the time limit."""
        deadline = time.monotonic() + time_limit
        while True:
            try:
                answer = self._pipes.answers.get(timeout=max(0.0, min(_LOOK, deadline - time.monotonic())))
            except queue.Empty:
                if self._process.poll() is not None:
                    self._pipes.finish()  # another process may hold its pipes open
                elif time.monotonic() >= deadline:
                    self.kill()
                    raise WorkerError(
                        f"no answer within {time_limit:g} s; its process was stopped{self._other()}"
                    ) from None
                continue
            if answer is None:
                self._pipes.answers.put(None)  # whoever asks again is told so at once, too
                raise WorkerError(self._how_it_ended(min(_END, deadline - time.monotonic())))
            return answer

    def _how_it_ended(self, seconds: float) -> str:
        if self._pipes.too_long:
            self.kill()
            return f"its answer is longer than {LONGEST:,} bytes; its process was stopped"
        try:
            code = self._process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            self.kill()
            return f"its process closed the pipe of its answers, went on and was stopped{self._other()}"
        self._pipes.finish()
        ended = f"was killed by {signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
        last = next((line for line in reversed(self.log().splitlines()) if line.strip()), "")
        if not last and (other := self._other()):
            return f"its process {ended}{other}"
        return f"its process {ended}; last output: {one_line(last[:300]) or 'no output'}"

    def _other(self) -> str:
        """What the process printed instead of answers, if it never answered."""
        if self._pipes.answered or not self._pipes.other:
            return ""
        said = one_line(self._pipes.other[:80].decode(errors="replace"))
        return f" and answered nothing but {said!r}: is it a Python interpreter?"


def signal_name(number: int) -> str:
    """A signal as people know it."""
    try:
        name = signal.Signals(number).name
    except ValueError:  # one of the real-time signals
        return f"signal {number}"
    return f"{name} (out of memory?)" if number == signal.SIGKILL else name


def _reason(error: Exception) -> str:
    return one_line((isinstance(error, OSError) and error.strerror) or f"{type(error).__name__}: {error}")[:300]
