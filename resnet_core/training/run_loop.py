"""The run loop: one for every backend. It feeds a trainer, keeps the books, and loses nothing.

A backend gives `Trainer(spec, recipe, state, dtype=…)` with `step`, `predict` and `state`; everything else,
the order of the data, the numbers of each step, evaluation, log, checkpoints, is decided here, so that a run
may change its framework between any two steps.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from resnet_core.backend import DEVICES, load_backend, optional
from resnet_core.data.readers import Dataset
from resnet_core.errors import InputError, RecipeError, TrainingError, require_choice
from resnet_core.initialization import initialize
from resnet_core.numerics import log_softmax
from resnet_core.spec_files import spec as with_fields
from resnet_core.specification import ResNetSpec
from resnet_core.training.checkpoint import Checkpoint
from resnet_core.training.contract import StepResult, TrainingState
from resnet_core.training.pipeline import Pipeline
from resnet_core.training.recipe import Recipe, check_trainable
from resnet_core.training.run_folder import RunFolder
from resnet_core.training.running_variance import variance_corrections
from resnet_core.training.schedule import StepNumbers, step_numbers
from resnet_core.weights import DTYPES, Weights, cast

#: Seconds between two writes to the log: who follows it sees the run, and the run hardly waits for the disk.
LOG_EVERY = 5.0


class Trainer(Protocol):
    """What a backend trains with."""

    def step(self, images: np.ndarray, labels: np.ndarray, numbers: StepNumbers) -> StepResult: ...
    def predict(self, images: np.ndarray) -> np.ndarray: ...
    def state(self) -> TrainingState: ...


class Reporter(Protocol):
    """Who is told how a run goes: a progress bar, a test, nobody."""

    def start(self, done: int, total: int, per_epoch: int) -> None: ...
    def step(self, record: dict[str, Any], images: int) -> None: ...
    def epoch(self, record: dict[str, Any]) -> None: ...
    def warn(self, message: str) -> None: ...


@dataclass
class Options:
    """How a run is done, beside what it computes."""

    backend: str
    out: Path
    resume: bool = False
    until: int | None = None  # stop after this epoch of the recipe, to go on later
    device: str = "auto"
    dtype: str = "float32"
    weights: Weights | None = None  # start from these (fine-tuning) instead of the initial ones
    checkpoint_every: int | None = None  # steps; by default an epoch
    keep: int = 3


@dataclass
class Books:
    """What is on its way into the log, and the sums of the current epoch."""

    pending: list[dict[str, Any]] = field(default_factory=list)
    loss: float = 0.0
    correct: int = 0
    images: int = 0
    seconds: float = 0.0
    best: float = -1.0

    def add(self, result: StepResult, images: int, seconds: float) -> None:
        self.loss += result.loss * images
        self.correct += result.correct
        self.images += images
        self.seconds += seconds

    def progress(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {key: getattr(self, key) for key in ("loss", "correct", "images", "seconds", "best")}


def train(spec: ResNetSpec, recipe: Recipe, data: Dataset, options: Options, reporter: Reporter) -> dict[str, Any]:
    """Train, or go on training, in a run folder. Returns the last epoch's record and why the run ended.

    `ended` is "finished", "until" (the epoch asked for) or "interrupted" (Ctrl-C or SIGTERM: a checkpoint has
    been written). Raises InputError for what cannot be used, TrainingError where the loss is no number.
    """
    require_choice("device", options.device, DEVICES)
    require_choice("dtype", options.dtype, DTYPES)
    check_trainable(spec)
    pipeline = Pipeline(data, recipe, spec)
    spec = with_fields(spec, input_size=list(pipeline.size))
    for shape in pipeline.batch_shapes():
        variance_corrections(spec, shape)  # refuses a batch that no norm can learn from
    backend = load_backend(options.backend)
    make_trainer = optional(backend, "Trainer")
    device = backend.configure(options.device, options.dtype)

    folder = RunFolder(options.out)
    session = {"backend": options.backend, "device": device, "versions": backend.versions()}
    state, books = _begin(folder, spec, recipe, data, options, session, reporter)
    trainer: Trainer = make_trainer(spec, recipe, state, dtype=options.dtype)
    loop = RunLoop(spec, recipe, pipeline, folder, trainer, books, options, reporter)
    until = pipeline.total_steps if options.until is None else options.until * pipeline.steps_per_epoch
    return loop.run(state.step, min(pipeline.total_steps, until))


def _begin(
    folder: RunFolder,
    spec: ResNetSpec,
    recipe: Recipe,
    data: Dataset,
    options: Options,
    session: dict[str, Any],
    reporter: Reporter,
) -> tuple[TrainingState, Books]:
    """The state that the run starts from, new or resumed, and its books."""
    if not options.resume:
        weights = options.weights or initialize(spec, recipe.seed, options.dtype)
        about: dict[str, Any] = {
            "format": 1,
            "data": data.name,
            "dtype": options.dtype,
            "sessions": [{**session, "step": 0}],
        }
        state, books = TrainingState(cast(weights, options.dtype)), Books()
        folder.create(Checkpoint(spec, recipe, state, books.progress()), about)
        return state, books
    own_spec, own_recipe, about = folder.open()
    if own_spec != spec:
        raise InputError(f"{folder.path}: is a run of another network ({own_spec.name}); give its own SPEC and --set")
    if own_recipe != recipe:
        raise InputError(f"{folder.path}: is a run with another recipe; leave --recipe and --with out to go on with it")
    if (about["data"], about["dtype"]) != (data.name, options.dtype):
        raise InputError(
            f"{folder.path}: was trained on {about['data']} in {about['dtype']}; received {data.name}, {options.dtype}"
        )
    checkpoint = folder.load(reporter.warn)
    folder.cut_log(checkpoint.state.step)
    folder.write_about({**about, "sessions": [*about["sessions"], {**session, "step": checkpoint.state.step}]})
    return checkpoint.state, Books(**checkpoint.progress)


@dataclass
class RunLoop:
    """The steps of a run, one after another, and what is written of them."""

    spec: ResNetSpec
    recipe: Recipe
    pipeline: Pipeline
    folder: RunFolder
    trainer: Trainer
    books: Books
    options: Options
    reporter: Reporter
    logged: float = field(default_factory=time.perf_counter)  # when the log was last written

    def run(self, start: int, stop: int) -> dict[str, Any]:
        """Steps `start` to before `stop`, the last of which is saved. Returns what `train` returns."""
        per_epoch, total = self.pipeline.steps_per_epoch, self.pipeline.total_steps
        every = self.options.checkpoint_every or per_epoch
        self.reporter.start(start, stop, per_epoch)
        done = start
        with _interruptions() as interrupted:
            for step, (images, labels) in self.pipeline.batches(start, stop):
                self._step(step, images, labels)
                done = step + 1
                if done % per_epoch == 0 or done == total:
                    self._end_epoch(done, per_epoch)
                if done % every == 0 or done % per_epoch == 0 or done == stop or interrupted():
                    self._save()
                if interrupted():
                    break
        ended = "finished" if done == total else "until" if done >= stop else "interrupted"
        epochs = [record for record in self.folder.records() if record["kind"] == "epoch"]
        return {"ended": ended, "step": done, **({"last": epochs[-1]} if epochs else {})}

    def _step(self, step: int, images: np.ndarray, labels: np.ndarray) -> None:
        numbers = step_numbers(self.recipe, self.pipeline.steps_per_epoch, step)
        begin = time.perf_counter()
        result = self.trainer.step(images, labels, numbers)
        seconds = time.perf_counter() - begin
        if not math.isfinite(result.loss):
            self._log()  # how the loss came there
            last = self.folder.checkpoints()
            raise TrainingError(
                f"the loss is {result.loss} at step {step + 1} (learning rate {numbers.learning_rate:g}); nothing was "
                f"saved of it, the last checkpoint is {last[0].name if last else 'none'}; use a smaller learning rate"
            )
        self.books.add(result, len(labels), seconds)
        record = {
            "kind": "step",
            "step": step + 1,
            "loss": result.loss,
            "accuracy": result.correct / len(labels),
            "learning_rate": numbers.learning_rate,
            "seconds": round(seconds, 6),
        }
        self.books.pending.append(record)
        self.reporter.step(record, len(labels))
        if time.perf_counter() - self.logged > LOG_EVERY:
            self._log()

    def _end_epoch(self, done: int, per_epoch: int) -> None:
        books = self.books
        tested = evaluate(self.trainer.predict, self.pipeline)
        record = {
            "kind": "epoch",
            "step": done,
            "epoch": -(-done // per_epoch),
            "loss": books.loss / books.images,
            "accuracy": books.correct / books.images,
            "test_loss": tested["loss"],
            "test_accuracy": tested["accuracy"],
            "seconds": round(books.seconds, 3),
            "backend": self.options.backend,
        }
        books.pending.append(record)
        if tested["accuracy"] > books.best:
            books.best = tested["accuracy"]
            self.folder.save_best(self._checkpoint())
        books.loss, books.correct, books.images, books.seconds = 0.0, 0, 0, 0.0
        self.reporter.epoch(record)

    def _save(self) -> None:
        """The log first: a checkpoint never knows more than the log."""
        self._log()
        self.folder.save(self._checkpoint(), self.options.keep)

    def _log(self) -> None:
        self.folder.log(self.books.pending)
        self.books.pending.clear()
        self.logged = time.perf_counter()

    def _checkpoint(self) -> Checkpoint:
        return Checkpoint(self.spec, self.recipe, self.trainer.state(), self.books.progress())


def evaluate(predict: Callable[[np.ndarray], np.ndarray], pipeline: Pipeline) -> dict[str, Any]:
    """Mean cross-entropy and accuracy over the test pictures; `classes` has each one's predicted class."""
    loss, classes = 0.0, []
    for images, labels in pipeline.test_batches():
        logits = predict(images)
        loss -= log_softmax(logits)[np.arange(len(labels)), labels].sum()
        classes.append(logits.argmax(-1))
    found, labels = np.concatenate(classes), pipeline.data.test.labels
    return {"loss": float(loss / len(labels)), "accuracy": float((found == labels).mean()), "classes": found}


def fine_tuned(spec: ResNetSpec, weights: Weights, seed: int) -> Weights:
    """Weights to start from: the given ones, with a fresh head where they are for other classes.

    Raises RecipeError where they differ in more than the head.
    """
    fresh = initialize(spec, seed, next(iter(weights.values())).dtype.name)
    other = [name for name in fresh if name not in weights or weights[name].shape != fresh[name].shape]
    if any(not name.startswith("head.linear.") for name in other):
        raise RecipeError(f"--weights: {other[0]} does not fit the network; expected weights of the same network")
    return {name: fresh[name] if name in other else weights[name] for name in fresh}


@contextmanager
def _interruptions() -> Iterator[Callable[[], bool]]:
    """Inside, Ctrl-C and SIGTERM are only noted, so that a step is finished and saved; the second Ctrl-C stops."""
    noted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield noted.is_set
        return

    def note(number: int, frame: object) -> None:
        if noted.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        noted.set()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield noted.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
