"""One long-lived worker process per engine: pytest's own process imports no framework."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from engines import CPU, ENGINES, QUICK
from resnet_core.errors import WorkerError
from resnet_core.workers.child import Arrays
from resnet_core.workers.parent import Worker


class Workers:
    """Calls functions in the worker of a named engine, which is started when it is first needed."""

    def __init__(self) -> None:
        self._engines: dict[str, Worker] = {}

    def call(self, name: str, function: str, arrays: Arrays | None = None, /, **arguments: Any) -> tuple[Any, Arrays]:
        """(result, arrays) of `module:function` in that engine; what it printed is shown if it fails."""
        if name not in self._engines:
            folder = str(Path(__file__).parent)
            path = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))
            environment = {**QUICK, **ENGINES[name][1], **CPU, "PYTHONPATH": path}
            self._engines[name] = Worker(environment=environment)
        try:
            return self._engines[name].call(function, arrays, **arguments)
        except WorkerError as error:
            worker = self._engines.pop(name)  # it has ended: the next test is to have one that lives
            error.add_note(worker.log()[-3000:])
            worker.close()
            raise

    def close(self) -> None:
        while self._engines:
            self._engines.popitem()[1].close()


_workers = Workers()


@pytest.fixture
def workers() -> Workers:
    return _workers


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Six frameworks' processes are gigabytes: they end with the last test of this folder."""
    if nextitem is None or Path(__file__).parent not in nextitem.path.parents:
        _workers.close()
