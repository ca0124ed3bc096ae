"""A run on disk: what was trained, how, on what, and every step of it.

    spec.toml recipe.toml    the network and the recipe
    run.json                 data, their fingerprint, share held out, dtype, and each session: backend, device,
                             versions, first step, and a new length
    log.jsonl                a line for each step, and one for each epoch
    checkpoints/             the latest few, `step-000000469.safetensors`
    last.safetensors         neutral weights after the last checkpoint
    best.safetensors         neutral weights of the epoch with the best test accuracy
    curves.png curves.svg    loss and accuracy
    tensorboard/             the log as event files, where they are asked for
    .lock                    which process trains here (`resnet_core.training.run_lock`)

Files are replaced atomically. The log is appended to, and truncated to the checkpoint from which a run resumes.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec

from resnet_core.data.readers import CLASSES
from resnet_core.errors import DataError, InputError, NewerFormatError
from resnet_core.fields import parse_json
from resnet_core.files import MOST, append_lines, read_bytes, reading, require_writable, write_atomically
from resnet_core.preparation import Inputs, Preparation
from resnet_core.spec_files import save_spec
from resnet_core.spec_files import spec as read_spec
from resnet_core.specification import ResNetSpec
from resnet_core.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from resnet_core.training.extension import same_but_length
from resnet_core.training.recipe import Recipe
from resnet_core.training.recipe_files import recipe, save_recipe
from resnet_core.training.reporting import EpochRecord, StepRecord
from resnet_core.training.run_lock import LOCK, locked
from resnet_core.weight_file import save_weights
from resnet_core.weights import Weights

#: Of run.json; a later one is left alone.
FORMAT = 1

#: Marks a folder as incomplete: created first, and removed when everything else is there.
_STARTING = ".starting"
#: Bytes of a line of the log.
LINE = 2**16

_NAME = re.compile(r"step-(\d{9,})\.safetensors")


#: The records of the log, by their kind.
_RECORDS: dict[str, type[StepRecord | EpochRecord]] = {"step": StepRecord, "epoch": EpochRecord}


class _AnotherRunError(InputError):
    """A checkpoint that belongs to another run."""


class _Session(msgspec.Struct):
    backend: str


class _About(msgspec.Struct):
    """What must be in run.json; the rest is for those who read it."""

    data: str
    dtype: str
    sessions: list[_Session]
    format: Literal[1] = 1
    source: str | None = None
    validation: float | None = None
    fingerprint: str | None = None


class RunFolder:
    """Reads and writes the files of a run. Raises InputError, one line; nothing is left half written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def held(self, *, new: bool = False) -> Iterator[None]:
        """Inside, this run is that of this process alone. For a `new` one, the folder is made, if it can hold one.

        Raises InputError where another process has it, and where there is no run, or no place for a new one.
        """
        if new:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                self._require_place()
            except OSError as error:
                raise InputError(
                    f"{self.path}: a run cannot be kept here ({error.strerror}); nothing was changed"
                ) from error
        else:
            self.open()
        with locked(self.path):
            yield

    def _require_place(self) -> None:
        begun = (self.path / _STARTING).exists() and not (self.path / "run.json").exists()
        if not begun and any(path.name != LOCK for path in self.path.iterdir()):
            raise InputError(f"{self.path}: is not empty; expected a new folder, or to resume the run in this one")

    def create(self, start: Checkpoint, inputs: Inputs, about: dict[str, Any]) -> None:
        """Start a new run here, with its first checkpoint; the folder is held, and must be empty.

        It may also hold the files of a run that was killed while it was being created: without run.json it has taken
        no step.
        """
        try:
            self._require_place()  # another may have begun here just before the folder was held
            (self.path / _STARTING).touch()
            (self.path / "checkpoints").mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{self.path}: a run cannot be kept here ({error.strerror}); nothing was changed"
            ) from error
        save_spec(self.path / "spec.toml", start.spec)
        save_recipe(self.path / "recipe.toml", start.recipe)
        self.save(start, inputs, keep=1)
        self.write_about(about)  # last: a folder with a run.json is complete
        (self.path / _STARTING).unlink()

    def open(self) -> tuple[ResNetSpec, Recipe, dict[str, Any]]:
        """(spec, recipe, contents of run.json) of the run in this folder."""
        if not (self.path / "run.json").exists():
            if (self.path / _STARTING).exists():
                raise InputError(
                    f"{self.path}: its run was stopped while it was being created; start it again without resuming"
                )
            raise InputError(
                f"{self.path}: holds no run (run.json is missing); expected a folder that a training run wrote"
            )
        try:
            text = read_bytes(self.path / "run.json", "a run's description").decode()
            about = parse_json(text, "run.json", "a run's description", InputError, most=MOST)
            if isinstance(later := about.get("format", FORMAT), int) and later > FORMAT:
                raise NewerFormatError(
                    f"{self.path}: run.json has format {later}; this version reads {FORMAT}: use the one that wrote it"
                )
            known = msgspec.convert(about, _About)
            if not (known.data and known.dtype and known.sessions and known.sessions[-1].backend):
                raise ValueError("empty fields")
        except NewerFormatError:
            raise
        except (ValueError, LookupError, TypeError) as error:
            raise InputError(
                f"{self.path}: run.json is damaged ({error}); expected what the training run wrote there"
            ) from error
        return read_spec(self.path / "spec.toml"), recipe(self.path / "recipe.toml"), about

    def early_preparation(self) -> Preparation | None:
        """How a run prepared its pictures that was made before weight files said so; None if it cannot be known.

        Named data sets were stretched where their size was not the network's, folders of pictures covered and cropped.
        """
        spec, plan, about = self.open()
        if plan.mean == "pixel":  # the mean picture of its data is not in the folder
            return None
        return Preparation(
            size=spec.input_size,
            channels=spec.in_channels,
            resize="stretch" if about["data"] in CLASSES else "cover",
            mean=plan.mean,
            deviation=plan.deviation,
        )

    def data(self) -> str:
        """The name or the path of the run's data. Raises InputError for a run that does not know it."""
        about = self.open()[2]
        if about.get("source") is None:
            raise InputError(f"{self.path}: does not say where its data ({about['data']}) are; name them")
        return str(about["source"])

    def validation(self, asked: float | None = None) -> float | None:
        """The share of the run's training pictures that is held out, or None; `asked` where the run does not say.

        Raises InputError if it is another one than was asked for: pictures that were trained on would be among them.
        """
        own = self.open()[2].get("validation")
        if own is not None and asked is not None and own != asked:
            raise InputError(f"{self.path}: holds out {own:g} of its pictures; received validation = {asked:g}")
        return asked if own is None else float(own)

    def last_backend(self) -> str:
        """The backend of the run's last session."""
        return str(self.open()[2]["sessions"][-1]["backend"])

    def early_classes(self) -> tuple[str, ...] | None:
        """The names of such a run's classes, if its data set is a known one."""
        spec, _, about = self.open()
        names = CLASSES.get(about["data"], ())
        return names if len(names) == spec.classes else None

    def write_about(self, about: dict[str, Any]) -> None:
        """Replace run.json."""
        write_atomically(self.path / "run.json", (json.dumps(about, indent=1) + "\n").encode())

    def extend(self, checkpoint: Checkpoint, about: dict[str, Any]) -> None:
        """Give the run another length: that of the checkpoint's recipe. `about` replaces run.json.

        The recipe comes first, so that the run has the new length from there on, and the checkpoint last: until it has
        the recipe's length, it shows that the rest may be missing.
        """
        save_recipe(self.path / "recipe.toml", checkpoint.recipe)
        self.write_about(about)
        save_checkpoint(self._checkpoint(checkpoint.state.step), checkpoint)

    def save(self, checkpoint: Checkpoint, inputs: Inputs, keep: int) -> None:
        """Write the last weights and a checkpoint, then remove all but the newest `keep` checkpoints.

        The checkpoint comes last: if it is missing, a run that resumes from the previous one rewrites the rest.
        """
        self._save_weights("last.safetensors", checkpoint.state.evaluated, checkpoint.spec, inputs)
        save_checkpoint(self._checkpoint(checkpoint.state.step), checkpoint)
        for old in self.checkpoints()[keep:]:
            old.unlink(missing_ok=True)

    def save_best(self, weights: Weights, spec: ResNetSpec, inputs: Inputs) -> None:
        """Replace the best weights."""
        self._save_weights("best.safetensors", weights, spec, inputs)

    def _save_weights(self, name: str, weights: Weights, spec: ResNetSpec, inputs: Inputs) -> None:
        save_weights(self.path / name, weights, spec, preparation=inputs.preparation, classes=inputs.classes)

    def _checkpoint(self, step: int) -> Path:
        return self.path / "checkpoints" / f"step-{step:09d}.safetensors"

    def checkpoints(self) -> list[Path]:
        """The checkpoint files, newest first."""
        return sorted((p for p in (self.path / "checkpoints").glob("step-*") if _NAME.fullmatch(p.name)), reverse=True)

    def load(self, warn: Callable[[str], None]) -> Checkpoint:
        """The newest readable checkpoint. Calls `warn` for each damaged one.

        Raises InputError if none can be read, for one of a later version, and for one of another run.
        """
        for name in ("log.jsonl", "last.safetensors", "best.safetensors"):
            require_writable(self.path / name)  # before the first step, not at the first checkpoint
        paths = self.checkpoints()
        for path in paths:
            try:
                checkpoint = load_checkpoint(path)
                self._require_own(path, checkpoint)
                return checkpoint
            except (NewerFormatError, _AnotherRunError):
                raise
            except InputError as error:
                warn(f"{error}; trying the previous one")
        raise InputError(f"{self.path}: none of its {len(paths)} checkpoints can be read; train again in a new folder")

    def _require_own(self, path: Path, checkpoint: Checkpoint) -> None:
        """A run that was given another length has it in its recipe first, and in its checkpoint last."""
        spec, plan, about = self.open()
        if checkpoint.spec != spec:
            differs = "network", "spec.toml"
        elif not same_but_length(checkpoint.recipe, plan):
            differs = "recipe", "recipe.toml"
        elif None not in (known := {checkpoint.data, about.get("fingerprint")}) and len(known) > 1:
            differs = "data set", "run.json"
        else:
            return
        raise _AnotherRunError(
            f"{path}: is a checkpoint of another run: its {differs[0]} is not that of {self.path / differs[1]}; "
            "move it away, or put back what was there"
        )

    def log(self, records: list[dict[str, Any]]) -> None:
        """Append records to the log, and wait until they are on disk."""
        append_lines(self.path / "log.jsonl", [json.dumps(record) for record in records])

    def records(self) -> Iterator[dict[str, Any]]:
        """The records in the log; a truncated last line is ignored. Raises DataError for another that is no record."""
        path = self.path / "log.jsonl"
        if not path.exists():
            return
        with reading(path, "a run's log") as file:
            for number in itertools.count(1):
                line = file.readline(LINE)
                if not line:
                    return
                try:
                    record = parse_json(line.decode(errors="replace"), f"line {number}", "a record", DataError)
                    _require_record(record)
                except (ValueError, LookupError, TypeError) as error:
                    if line.endswith(b"\n") or file.read(1):  # the last line may have been cut
                        raise DataError(f"{path}: line {number} is no record of a run ({error})") from error
                    return
                yield record

    def cut_log(self, step: int, *, unevaluated: bool = False) -> None:
        """Drop the records after `step` steps, which the run repeats; if `unevaluated`, also that of the epoch."""
        kept = [
            json.dumps(record)
            for record in self.records()
            if record["step"] < step or (record["step"] == step and not (unevaluated and record["kind"] == "epoch"))
        ]
        write_atomically(self.path / "log.jsonl", "".join(f"{line}\n" for line in kept).encode())


def _require_record(record: dict[str, Any]) -> None:
    """Raise ValueError or LookupError where a line of the log is no record of a step or of an epoch."""
    msgspec.convert(record, _RECORDS[record["kind"]])
