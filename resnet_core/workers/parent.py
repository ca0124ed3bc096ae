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
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from resnet_core import errors
from resnet_core.errors import InputError, WorkerError
from resnet_core.workers import TIME_LIMIT
from resnet_core.workers.child import Arrays, read_arrays, write_arrays

#: What every worker is started with unless the user says otherwise. Feature maps are allocated and freed anew for every
#: layer, and memory fresh from the system comes page by page: with huge pages (glibc from 2.35 on), PyTorch predicts
#: and trains 1.3 times as fast.
DEFAULTS = {"PYTHONUNBUFFERED": "1", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


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
        self._folder = tempfile.TemporaryDirectory(prefix="resnet-")
        self._count = 0
        self._log = (Path(self._folder.name) / "stderr").open("w+b")
        try:
            self._process = subprocess.Popen(
                [python or sys.executable, "-P", "-m", "resnet_core.workers.child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
                encoding="utf-8",
                env={**DEFAULTS, **(defaults or {}), **os.environ, **(environment or {})},
                start_new_session=True,  # so that processes started by a framework end with it
            )
        except OSError as error:
            self._log.close()
            self._folder.cleanup()
            raise InputError(f"{python or sys.executable} cannot be started ({error.strerror})") from error
        assert self._process.stdout is not None
        self._answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=_forward_lines, args=(self._process.stdout, self._answers), daemon=True).start()

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
        """Send a request without waiting for its answer."""
        self._count += 1
        sent = None
        if arrays is not None:
            sent = str(self._file("request"))
            write_arrays(sent, arrays)
        name = function if ":" in function else f"resnet_core.workers.tasks:{function}"
        request = {"function": name, "arguments": arguments, "arrays": sent, "answer": str(self._file("answer"))}
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except OSError:
            pass  # the worker has died; `result` says how

    def result(self, time_limit: float = TIME_LIMIT) -> tuple[Any, Arrays]:
        """The oldest pending answer. Raises WorkerError, or the ResNetError that the function raised."""
        try:
            line = self._answers.get(timeout=time_limit)
        except queue.Empty:
            self.kill()
            raise WorkerError(f"no answer within {time_limit:g} s; its process was stopped") from None
        if line is None:
            self._answers.put(None)  # whoever asks again is told so at once, too
            raise WorkerError(self._how_it_ended())
        path = self._file("answer")
        try:
            answer = json.loads(line)
            if "error" in answer:
                error = getattr(errors, answer["kind"], WorkerError)(answer["error"])
            else:
                result, arrays = answer["result"], read_arrays(path) if answer["arrays"] else {}
                error = None
        except Exception:  # `python` may be any program, not an interpreter
            self.kill()
            raise WorkerError(
                f"its process answered {line.strip()[:80]!r}, unlike a worker: is it a Python interpreter?"
            ) from None
        if error is not None:
            raise error
        for leftover in (path, self._file("request")):
            leftover.unlink(missing_ok=True)
        return result, arrays

    def kill(self) -> None:
        """Kill the process and everything it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """End the process and remove its files."""
        self.kill()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            try:
                if stream is not None:
                    stream.close()
            except OSError:
                pass  # a pipe that broke with unsent text in it
        self._folder.cleanup()

    def log(self) -> str:
        """What the process has written to standard error."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def _file(self, role: str) -> Path:
        # Requests are answered one at a time, so the role is enough to name a file.
        return Path(self._folder.name) / f"{role}.arrays"

    def _how_it_ended(self) -> str:
        code = self._process.wait()
        last = next((line for line in reversed(self.log().splitlines()) if line.strip()), "no output")
        if code < 0:
            return f"its process was killed by {signal.Signals(-code).name} (out of memory?); last output: {last[:300]}"
        return f"its process ended with exit code {code}; last output: {last[:300]}"


def _forward_lines(stream: IO[str], answers: queue.SimpleQueue[str | None]) -> None:
    try:
        for line in stream:
            answers.put(line)
    except ValueError:
        pass  # closed while reading
    answers.put(None)
