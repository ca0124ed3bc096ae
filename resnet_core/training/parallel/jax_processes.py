"""Processes that met by JAX, for the backends that compute with it; each of them brings JAX along as an argument.

They need `jax.experimental.multihost_utils` and `jax.extend.backend` to have been imported.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from resnet_core.errors import InputError
from resnet_core.training.parallel.place import Place

#: Seconds that a process waits at its end for the others (of `resnet train`, one that fails ends at once), and that it
#: may be silent: it may be stopped, and go on, and who watches it is not JAX (`resnet_core.workers.ranks`).
AT_THE_END, SILENT = 60, 24 * 60 * 60

#: Bytes that are sent at once, at most and at least: XLA compiles a program for every length.
MOST, LEAST = 2**20, 2**6


class JaxProcesses:
    """The contract's `Group`, and arrays over all processes: gloo on a CPU, NCCL on GPUs. Each has one device.

    Or the devices of one process, each of which counts as one.
    """

    def __init__(self, jax: Any, rank: int, devices: list[Any]) -> None:
        self.jax, self.rank, self.processes, self.devices = jax, rank, len(devices), devices
        self.here = sum(device.process_index == jax.process_index() for device in devices)  # 1, or all
        mesh, axes = jax.sharding.Mesh(np.array(devices), ("rows",)), jax.sharding.PartitionSpec
        self.by_rows = jax.sharding.NamedSharding(mesh, axes("rows"))
        self.everywhere = jax.sharding.NamedSharding(mesh, axes())

    def gather(self, array: np.ndarray) -> list[np.ndarray]:
        return [_as(array, own) for own in sent(self.jax.experimental.multihost_utils.process_allgather, array)]

    def broadcast(self, array: np.ndarray) -> np.ndarray:
        def send(piece: np.ndarray) -> Any:
            return self.jax.experimental.multihost_utils.broadcast_one_to_all(piece)[None]

        return _as(array, sent(send, array)[0])

    def leave(self) -> None:
        self.jax.distributed.shutdown()

    def rows(self, array: Any) -> Any:
        """The array over all processes of which these are this one's rows."""
        return self.jax.make_array_from_process_local_data(self.by_rows, np.asarray(array))

    def shared(self, array: Any) -> Any:
        """The array that all processes have alike."""
        copy = np.array(array)  # JAX may keep what it is given
        return self.jax.make_array_from_process_local_data(self.everywhere, copy, copy.shape)


def joined(jax: Any, place: Place, device: str) -> JaxProcesses:
    """JAX meets others before it has devices: those that it has are given up, and what is on them.

    Raises InputError where a process that is alone has fewer devices than its place says.
    """
    if place.devices > 1:
        if len(found := jax.devices()) < place.devices:
            here = f"JAX {jax.__version__} has {len(found)} ({device})"
            raise InputError(f"devices: received {place.devices}; {here}; ask for no more")
        return JaxProcesses(jax, place.rank, found[: place.devices])
    local = [place.local_rank % len(jax.local_devices())] if device == "gpu" else None
    before = signal.getsignal(signal.SIGTERM)
    jax.extend.backend.clear_backends()
    jax.distributed.initialize(
        f"{place.address}:{place.port}",
        place.processes,
        place.rank,
        local_device_ids=local,
        cluster_detection_method="deactivate",  # the core has read the launcher's variables
        heartbeat_timeout_seconds=SILENT,
        shutdown_timeout_seconds=AT_THE_END,
    )
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)  # JAX takes it, for machines that announce their end
    own = {found.process_index: found for found in reversed(jax.devices())}
    group = JaxProcesses(jax, place.rank, [own[rank] for rank in range(place.processes)])
    with _output_to_log():
        group.gather(np.zeros(1, np.uint8))  # from here on all are connected, of which gloo tells
    return group


def sent(send: Callable[[np.ndarray], Any], array: np.ndarray) -> list[np.ndarray]:
    """Each process's bytes, as `send` gives them of pieces: (processes, bytes). JAX would round a float64."""
    given = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
    found = []
    for start in range(0, max(len(given), 1), MOST):
        piece = given[start : start + MOST]
        length = LEAST
        while length < len(piece):
            length *= 4
        found.append(np.asarray(send(np.pad(piece, (0, length - len(piece)))))[:, : len(piece)])
    return list(np.concatenate(found, axis=1))


def _as(array: np.ndarray, sent: np.ndarray) -> np.ndarray:
    """The bytes, in the type and shape of an array."""
    return sent.view(array.dtype).reshape(array.shape)


@contextmanager
def _output_to_log() -> Iterator[None]:
    """Inside, what a library prints to standard output goes to standard error, which in a rank is its log."""
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
