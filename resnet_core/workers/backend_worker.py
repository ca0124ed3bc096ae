"""Start a backend's worker process; nothing that has arrays is imported here, so that it can be started early."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from resnet_core.backend import environment
from resnet_core.errors import BackendError, MissingBackendError, ResNetError
from resnet_core.workers.parent import Worker


def backend_worker(name: str, python: str | None = None) -> Worker:
    """A process with the backend's environment variables. Raises as `Worker` and `load_backend` do."""
    defaults = environment(name)
    with named(name):
        return Worker(python, defaults=defaults)


def importing_worker(name: str) -> Worker:
    """One that imports the backend and its framework at once, while this process does something else."""
    worker = backend_worker(name)
    worker.submit("import_backend", backend=name)
    return worker


@contextmanager
def named(name: str) -> Iterator[None]:
    """Put the backend's name before a message, except in the two kinds of error that already name it."""
    try:
        yield
    except (BackendError, MissingBackendError):
        raise
    except ResNetError as error:
        raise type(error)(f"{name}: {error}") from error
