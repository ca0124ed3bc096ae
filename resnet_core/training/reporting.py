"""What a run tells of itself while it trains: one record a step, one an epoch, to the log and to a reporter."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True)
class StepRecord:
    """One step, as it stands in the log.

    `step` counts from 1, `loss` and `accuracy` are the batch's before the update, `seconds` is the step alone,
    without waiting for data.
    """

    step: int
    loss: float
    accuracy: float
    learning_rate: float
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The log's line, as an object."""
        return {"kind": "step", **asdict(self)}


@dataclass(frozen=True)
class EpochRecord:
    """One epoch, as it stands in the log.

    `step` is how many steps had been taken at its end, `epoch` counts from 1. `loss` and `accuracy` are means over
    the epoch's images, each before its update; `test_loss` and `test_accuracy` are of the test pictures afterwards;
    `seconds` adds up the steps alone.
    """

    step: int
    epoch: int
    loss: float
    accuracy: float
    test_loss: float
    test_accuracy: float
    seconds: float
    backend: str

    def to_json(self) -> dict[str, Any]:
        """The log's line, as an object."""
        return {"kind": "epoch", **asdict(self)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> EpochRecord:
        """What `to_json` gave; other fields are left out."""
        return cls(**{field.name: record[field.name] for field in fields(cls)})


@runtime_checkable
class Reporter(Protocol):
    """Who is told how a run goes: a progress bar, a test, nobody. Called between steps, in the training thread."""

    def start(self, done: int, total: int, per_epoch: int) -> None:
        """Training begins after `done` steps and is to end after `total`; an epoch has `per_epoch`."""
        ...

    def step(self, record: StepRecord, images: int) -> None:
        """A step has been taken, on so many images."""
        ...

    def epoch(self, record: EpochRecord) -> None:
        """An epoch has ended and the test pictures have been evaluated; nothing has been saved yet."""
        ...

    def warn(self, message: str) -> None:
        """Something went wrong that does not stop the run, in one line."""
        ...


#: What `train` takes for its progress: a Reporter, or a function that is given every record.
Progress = Reporter | Callable[[StepRecord | EpochRecord], object] | None


def as_reporter(progress: Progress) -> Reporter:
    """A Reporter as it is; a function gets the records, and warnings become Python's."""
    return progress if isinstance(progress, Reporter) else _Function(progress)


class _Function:
    def __init__(self, function: Callable[[StepRecord | EpochRecord], object] | None) -> None:
        self.function = function

    def start(self, done: int, total: int, per_epoch: int) -> None:
        pass

    def step(self, record: StepRecord, images: int) -> None:
        if self.function is not None:
            self.function(record)

    def epoch(self, record: EpochRecord) -> None:
        if self.function is not None:
            self.function(record)

    def warn(self, message: str) -> None:
        warnings.warn(message, stacklevel=2)
