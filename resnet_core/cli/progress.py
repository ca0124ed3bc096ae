"""Progress of a training run in the terminal: a progress bar, and one line per epoch."""

from __future__ import annotations

import sys
import time
from contextlib import suppress

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from resnet_core.cli.console import PrintableConsole
from resnet_core.cli.output import one_line
from resnet_core.training.reporting import EpochRecord, StepRecord


class TerminalReporter:
    """A progress bar with loss, accuracy, images per second and time left, if standard error is a terminal.

    Each epoch is a line, with the time left where there is no bar. `quiet` leaves only what went wrong; `test_name` is
    what the evaluated pictures are called.
    """

    def __init__(self, *, quiet: bool = False, test_name: str = "test") -> None:
        self.quiet, self.test_name = quiet, test_name
        self.console = PrintableConsole(file=sys.stderr)
        self.bar = self.console.is_terminal and not self.console.is_dumb_terminal and not quiet
        self.progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TextColumn("step {task.completed:.0f}/{task.total:.0f}"),
            TextColumn("loss {task.fields[loss]:.4f}  accuracy {task.fields[accuracy]:.3f}"),
            TextColumn("{task.fields[rate]:.0f} images/s"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.bar,
        )
        self.task: TaskID | None = None
        self.per_epoch, self.first, self.total, self.begun = 1, 0, 0, time.perf_counter()
        # Exponential means over about fifty batches: values of single batches jump too much to be readable.
        self.loss = self.accuracy = self.rate = 0.0
        self.seen, self.last = 0, time.perf_counter()

    def start(self, done: int, total: int, per_epoch: int) -> None:
        self.per_epoch, self.first, self.total, self.begun = per_epoch, done, total, time.perf_counter()
        self.task = self.progress.add_task(
            "train", total=total, completed=done, epoch=done // per_epoch + 1, loss=0.0, accuracy=0.0, rate=0.0
        )
        with suppress(OSError):
            self.progress.start()

    def step(self, record: StepRecord, images: int) -> None:
        assert self.task is not None
        now = time.perf_counter()
        self.seen, self.last, seconds = self.seen + 1, now, now - self.last  # waiting for data included
        share = max(0.02, 1 / self.seen)
        self.loss += share * (record.loss - self.loss)
        self.accuracy += share * (record.accuracy - self.accuracy)
        self.rate += share * (images / max(seconds, 1e-9) - self.rate)
        self.progress.update(
            self.task,
            completed=record.step,
            epoch=(record.step - 1) // self.per_epoch + 1,
            loss=self.loss,
            accuracy=self.accuracy,
            rate=self.rate,
        )

    def epoch(self, record: EpochRecord) -> None:
        if self.quiet:
            return
        left = self._left(record.step)
        self._say(
            f"epoch {record.epoch}: training loss {record.loss:.4f}, accuracy {record.accuracy:.4f}; "
            f"{self.test_name} loss {record.test_loss:.4f}, accuracy {record.test_accuracy:.4f}; "
            f"{record.seconds:.1f} s{left}"
        )

    def warn(self, message: str) -> None:
        self._say(f"resnet: {one_line(message)}")

    def note(self, message: str) -> None:
        if not self.quiet:
            self._say(one_line(message))

    def close(self) -> None:
        """Remove the bar, if there is one: before rich 15, what has none ended with an empty line."""
        if self.bar:
            with suppress(OSError):
                self.progress.stop()

    def _say(self, line: str) -> None:
        with suppress(OSError):  # the terminal was closed, and the run goes on to save what it has
            self.console.print(line, soft_wrap=True)

    def _left(self, step: int) -> str:
        """The time left after a step, evaluations included; "" at the end, and where the bar says it."""
        if self.bar or not self.first < step < self.total:
            return ""
        pace = (time.perf_counter() - self.begun) / (step - self.first)
        return f", about {duration(pace * (self.total - step))} left"


def duration(seconds: float) -> str:
    """A time to wait: seconds, minutes, or hours and minutes."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"
