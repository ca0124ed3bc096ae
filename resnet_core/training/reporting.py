"""Progress of a run: a record for each step and each epoch, for the log and for a reporter."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True)
class StepRecord:
    """One step, as in the log.

    `step` counts from 1, `loss` and `accuracy` are those of the batch before the update, `seconds` is the time of
    the step alone, without waiting for data.
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
    """One epoch, as in the log.

    `step` is the number of steps taken by its end, `epoch` counts from 1. `loss` and `accuracy` are means over the
    epoch's images, each before its update; `test_loss` and `test_accuracy` are measured on the test pictures at its
    end; `seconds` is the total time of its steps.
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
        """The inverse of `to_json`; other fields are ignored."""
        return cls(**{field.name: record[field.name] for field in fields(cls)})


@runtime_checkable
class Reporter(Protocol):
    """Receives the progress of a run, for example to draw a progress bar. Called between steps, in the same thread."""

    def start(self, done: int, total: int, per_epoch: int) -> None:
        """Training begins after `done` steps and should end after `total`; an epoch has `per_epoch` steps."""
        ...

    def step(self, record: StepRecord, images: int) -> None:
        """A step on `images` images has been taken."""
        ...

    def epoch(self, record: EpochRecord) -> None:
        """An epoch has ended and the network has been evaluated on the test pictures; nothing has been saved yet."""
        ...

    def warn(self, message: str) -> None:
        """Something went wrong that does not stop the run; `message` is one line."""
        ...

    def note(self, message: str) -> None:
        """Something that a reader of the run wants to know before it starts; `message` is one line."""
        ...


#: What `train` accepts as `progress`: a Reporter, or a function that is called with every record.
Progress = Reporter | Callable[[StepRecord | EpochRecord], object] | None


def as_reporter(progress: Progress) -> Reporter:
    """A Reporter is returned unchanged; a function becomes one that calls it and warns with Python's warnings."""
    return progress if isinstance(progress, Reporter) else _Function(progress)


class Several:
    """One Reporter of several, which are called in order."""

    def __init__(self, *reporters: Reporter) -> None:
        self.reporters = reporters

    def start(self, done: int, total: int, per_epoch: int) -> None:
        for reporter in self.reporters:
            reporter.start(done, total, per_epoch)

    def step(self, record: StepRecord, images: int) -> None:
        for reporter in self.reporters:
            reporter.step(record, images)

    def epoch(self, record: EpochRecord) -> None:
        for reporter in self.reporters:
            reporter.epoch(record)

    def warn(self, message: str) -> None:
        for reporter in self.reporters:
            reporter.warn(message)

    def note(self, message: str) -> None:
        for reporter in self.reporters:
            reporter.note(message)


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

    def note(self, message: str) -> None:
        pass
