"""The processes of a run as one of them sees them, and what they tell each other outside a step."""

from __future__ import annotations

import json
from typing import Any, Protocol

import numpy as np


class Group(Protocol):
    """What a backend's `join` returns: the processes that have met.

    Both methods are called by all processes, in the same order; a process waits until all have called.
    """

    rank: int
    processes: int

    def gather(self, array: np.ndarray) -> list[np.ndarray]:
        """Everyone's array, by rank, and the same bits in every process. All have one shape and dtype."""
        ...

    def broadcast(self, array: np.ndarray) -> np.ndarray:
        """The array of rank 0; those of the others have its shape and dtype, and are replaced."""
        ...

    def leave(self) -> None:
        """The processes part; nothing is called afterward."""
        ...


def total(group: Group, array: np.ndarray) -> np.ndarray:
    """The sum of everyone's array, added in the order of the ranks: the same bits everywhere."""
    return np.asarray(sum(group.gather(np.asarray(array))))


def any_of(group: Group, flag: bool) -> bool:
    """Whether it is true in any process; all get the same answer."""
    return any(bool(array[0]) for array in group.gather(np.array([flag], np.uint8)))


def told(group: Group, value: Any) -> Any:
    """What rank 0 gives, as JSON has it; what the others give is ignored."""
    text = json.dumps(value).encode() if group.rank == 0 else b""
    length = int(group.broadcast(np.array([len(text)], np.int64))[0])
    sent = np.frombuffer(text, np.uint8) if group.rank == 0 else np.zeros(length, np.uint8)
    return json.loads(group.broadcast(sent.copy()).tobytes())
