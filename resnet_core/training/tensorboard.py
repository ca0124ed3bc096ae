"""The log of a run as TensorBoard's event files, written while it trains.

The log stays the truth: where a session begins, all that it holds is written anew, into one file that replaces the
earlier ones. So no step is there twice after a resumption, none is missing, and sessions without TensorBoard are there
too. The log has no time of day: the time of an earlier record is that of training alone, without pauses.

Only the formats and the record writer of the package `tensorboard` are used, which import no framework.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from resnet_core.errors import InputError
from resnet_core.training.reporting import EpochRecord, StepRecord
from resnet_core.training.run_folder import RunFolder

#: The file names by which TensorBoard knows its files.
PREFIX = "events.out.tfevents."

#: Tag by field: of each step, and of each epoch.
STEP = {name: f"training/{name}" for name in ("loss", "accuracy", "learning_rate")}
EPOCH = {f"test_{name}": f"test/{name}" for name in ("loss", "accuracy")}


class TensorBoard:
    """A Reporter that writes event files into the run's folder `tensorboard`.

    Raises InputError where the library is missing, at once, and where a file cannot be written.
    """

    def __init__(self, run: RunFolder) -> None:
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2
            from tensorboard.summary.writer.record_writer import RecordWriter
        except ImportError as error:
            raise InputError(
                'event files need tensorboard, which is not installed: pip install "tensorboard>=2.18"'
            ) from error
        self.events: Any = event_pb2
        self.summaries: Any = summary_pb2
        self.writer: Any = RecordWriter
        self.run, self.folder = run, run.path / "tensorboard"
        self.file: BinaryIO | None = None

    def start(self, done: int, total: int, per_epoch: int) -> None:
        """Write all that the log holds, then remove the earlier files."""
        records = list(self.run.records())
        now = time.time()
        left = sum(record["seconds"] for record in records if record["kind"] == "step")
        try:
            self.folder.mkdir(exist_ok=True)
            earlier = list(self.folder.glob(f"{PREFIX}*"))
            self.file = self._new_file(now).open("xb")
        except OSError as error:
            raise self._failed(error) from error
        # The mark of a session that begins at step 0: a TensorBoard that is running drops what it has read before.
        start = self.events.SessionLog(status=self.events.SessionLog.START)
        events = [
            self.events.Event(wall_time=now - left, file_version="brain.Event:2"),
            self.events.Event(wall_time=now - left, step=0, session_log=start),
        ]
        for record in records:
            left -= record["seconds"] if record["kind"] == "step" else 0.0
            events.append(self._event(record, now - left))
        self._write(events)
        for path in earlier:
            path.unlink(missing_ok=True)

    def step(self, record: StepRecord, images: int) -> None:
        self._write([self._event(record.to_json(), time.time())])

    def epoch(self, record: EpochRecord) -> None:
        self._write([self._event(record.to_json(), time.time())])

    def warn(self, message: str) -> None:
        pass

    def note(self, message: str) -> None:
        pass

    def close(self) -> None:
        """Close the file, if there is one."""
        if self.file is not None:
            self.file.close()

    def _event(self, record: dict[str, Any], at: float) -> Any:
        tags = STEP if record["kind"] == "step" else EPOCH
        values = [self.summaries.Summary.Value(tag=tag, simple_value=record[name]) for name, tag in tags.items()]
        return self.events.Event(wall_time=at, step=record["step"], summary=self.summaries.Summary(value=values))

    def _write(self, events: Iterable[Any]) -> None:
        """Write events through to the operating system: TensorBoard sees them at once, and a kill loses none."""
        assert self.file is not None
        writer = self.writer(self.file)
        try:
            for event in events:
                writer.write(event.SerializeToString())
            writer.flush()
        except OSError as error:
            raise self._failed(error) from error

    def _new_file(self, now: float) -> Path:
        """A name that sorts behind those of earlier sessions, which is how TensorBoard orders them.

        A later second decides, even if the last session began within this one or the clock was set back.
        """
        earlier = (path.name.removeprefix(PREFIX).partition(".")[0] for path in self.folder.glob(f"{PREFIX}*"))
        second = max([int(now), *(int(name) + 1 for name in earlier if re.fullmatch("[0-9]{10}", name))])
        return self.folder / f"{PREFIX}{second:010d}.{socket.gethostname()}.{os.getpid()}.{time.time_ns()}"

    def _failed(self, error: OSError) -> InputError:
        return InputError(f"{self.folder}: event files cannot be written ({error.strerror})")
