"""The library starts a process for each foreign file that it reads or writes; here each backend has one for all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import pytest

from resnet_core.backend import environment
from resnet_core.conversion import convert, read
from resnet_core.weights import Weights
from resnet_core.workers.parent import Worker


class Processes:
    """A worker for each backend, started when first asked for."""

    def __init__(self, running: ExitStack) -> None:
        self._running, self._workers = running, dict[str, Worker]()

    def call(self, function: str, arrays: Weights | None = None, *, backend: str, **given: Any) -> Any:
        if backend not in self._workers:
            self._workers[backend] = self._running.enter_context(Worker(defaults=environment(backend)))
        return self._workers[backend].call(function, arrays, backend=backend, **given)


@contextmanager
def shared_processes() -> Iterator[None]:
    """Conversions inside share them."""
    with ExitStack() as running, pytest.MonkeyPatch.context() as patch:
        own = Processes(running)
        for module in (read, convert):
            patch.setattr(module, "Worker", lambda **given: nullcontext(own))
        yield
