"""Which of a run's processes this is, and where they meet."""

from __future__ import annotations

from dataclasses import dataclass

from resnet_core.errors import InputError


@dataclass(frozen=True, slots=True)
class Place:
    """`rank` from 0 of `processes`; `local_rank` counts on this machine, and chooses its GPU.

    The processes meet at `port` of `address`, which is the machine of rank 0. A process that is alone may compute with
    several `devices`, where the backend's ParallelTrainer does.
    """

    rank: int
    processes: int
    local_rank: int = 0
    address: str = "127.0.0.1"
    port: int = 0
    devices: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.processes:
            raise InputError(
                f"rank: received {self.rank} of {self.processes} processes; expected ranks from 0, each below their "
                "number"
            )

    @property
    def shards(self) -> int:
        """Into how many a batch is divided: one for each process, or for each of its devices."""
        return self.processes * self.devices
