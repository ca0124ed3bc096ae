"""Training runs as a whole: checking the arguments, starting or resuming a run, and its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from resnet_core.backend import DEVICES, load_backend, optional, require_convolution_dtype, require_several
from resnet_core.data.dataset import Dataset
from resnet_core.data.held_out import require_held_out
from resnet_core.data.named import NAMED, dataset
from resnet_core.data.up_front import require_pictures
from resnet_core.errors import InputError, require_choice
from resnet_core.initialization import initialize
from resnet_core.spec_files import Source, brings_weights
from resnet_core.spec_files import names as spec_names
from resnet_core.spec_files import spec as read_spec
from resnet_core.specification import ResNetSpec
from resnet_core.training.adaptation import adapted_weights
from resnet_core.training.averaging import AveragingTrainer
from resnet_core.training.checkpoint import Checkpoint
from resnet_core.training.contract import TrainingState
from resnet_core.training.extension import (
    extended,
    extension_note,
    length,
    require_length,
    require_reached,
    same_but_length,
)
from resnet_core.training.opening import devices_line, opening_line, several_line
from resnet_core.training.parallel.devices import DevicesTrainer, require_devices, require_one_way
from resnet_core.training.parallel.gloo import joined
from resnet_core.training.parallel.group import Group, any_of
from resnet_core.training.parallel.handing_out import handed_out
from resnet_core.training.parallel.place import Place
from resnet_core.training.parallel.shards import Share, require_whole_groups
from resnet_core.training.parallel.trainer import ShardingTrainer
from resnet_core.training.parameters import frozen_layers, trained_tree, treatments
from resnet_core.training.pipeline import Pipeline
from resnet_core.training.random_factors import require_random_layers
from resnet_core.training.recipe import Recipe, check_trainable
from resnet_core.training.recipe_files import default_recipe, title
from resnet_core.training.recipe_files import recipe as read_recipe
from resnet_core.training.recorder import RunRecorder
from resnet_core.training.reporting import EpochRecord, Progress, Reporter, Several, as_reporter
from resnet_core.training.run_folder import FORMAT, RunFolder
from resnet_core.training.run_loop import RunLoop, RunProgress
from resnet_core.training.running_variance import variance_corrections
from resnet_core.training.tensorboard import TensorBoard
from resnet_core.weight_file import load_weights
from resnet_core.weights import Weights, require_dtype

Ended = Literal["finished", "stopped early", "until", "interrupted"]


@dataclass(frozen=True, repr=False)
class TrainingResult:
    """How a run ended.

    `ended` is "finished", "stopped early" (the recipe's patience), "until" (the requested epoch) or "interrupted"
    (Ctrl-C, SIGTERM or SIGHUP; a checkpoint has been written). `step` is the number of steps taken; `epochs` has every
    finished epoch, including those of earlier sessions.
    """

    run: Path
    ended: Ended
    step: int
    epochs: tuple[EpochRecord, ...]

    @property
    def last(self) -> EpochRecord | None:
        """The last finished epoch, or None."""
        return self.epochs[-1] if self.epochs else None

    @property
    def best(self) -> EpochRecord | None:
        """The first epoch with the best test accuracy, whose weights are the run's best, or None."""
        return max(self.epochs, key=lambda record: record.test_accuracy, default=None)

    def __repr__(self) -> str:
        reached = f", best accuracy {self.best.test_accuracy:.4f} in epoch {self.best.epoch}" if self.best else ""
        return f"<TrainingResult: {self.run} {self.ended} at step {self.step}, {len(self.epochs)} epochs{reached}>"


def train(
    spec: Source | None = None,
    data: str | Path | Dataset | None = None,
    *,
    backend: str | None = None,
    out: str | Path,
    recipe: str | Path | Recipe | None = None,
    resume: bool = False,
    until: int | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    weights: str | Path | Mapping[str, np.ndarray] | None = None,
    device: str = "auto",
    dtype: str = "float32",
    data_dir: str | Path | None = None,
    validation: float | None = None,
    checkpoint_every: int | None = None,
    keep: int = 3,
    adapt: Sequence[str] | None = None,
    tensorboard: bool = False,
    progress: Progress = None,
    place: Place | None = None,
    devices: int = 1,
) -> TrainingResult:
    """Train a network, or resume a run, in this process. The run's files are in the folder `out`.

    - `spec`, `recipe`: a name, a .toml or .json file, or the object. By default a new run uses the recipe
      "fashion-adam", or with `weights` "fine-tune", and a resumed run its own.
    - `data`: a Dataset, or a name or path for `dataset`, with `data_dir` as its folder.
    - `validation`: the share of every class that is held out, drawn from the recipe's seed, of a folder of pictures
      without a test split; a resumed run has its own.
    - `resume`: resume from the run's last checkpoint, in any backend. Network, data and backend are then by default
      the run's own.
    - `until`: stop after this epoch of the recipe, to resume later.
    - `epochs` or `steps`: the length, instead of the recipe's. A resumed run gets another one, in the same unit, also
      if it has finished; what that means for its learning rates is noted.
    - `weights`: start from these instead of the initial ones, {neutral name: array} or a neutral file; if they are for
      other classes or other channels of the pictures, they are adapted, and that is noted.
    - `adapt`: fields of the spec that follow the data, "classes" and "in_channels"; by default both if `spec` is a
      name, a run or a weight file, and none if it is a spec or a spec's file. The size always does.
    - `checkpoint_every`: steps between checkpoints, by default an epoch; the newest `keep` are kept.
    - `tensorboard`: also write TensorBoard's event files, to the run's folder `tensorboard`.
    - `progress`: a Reporter, or a function that is called with every StepRecord and EpochRecord.
    - `place`: which of several processes this is that train the run together (`resnet_core.training.parallel`); each
      calls this with the same arguments and its own place. Only rank 0 writes and reports, and its result has the
      epochs; all others read the run's description from `out` where they resume, and nothing else.
    - `devices`: how many devices of this process compute each step together, each its rows of the batch, as several
      processes would (backend flax, and keras on JAX).

    The backend is configured for the device and the dtype. In the main thread, Ctrl-C, SIGTERM and SIGHUP end the run
    after the current step, which is saved. One process trains a run: another is refused while it does.

    Raises InputError, one line, for anything that cannot be used, before any file is written; TrainingError if the
    loss is NaN or infinite.
    """
    require_choice("device", device, DEVICES)
    require_dtype(dtype)
    for name, value in (("until", until), ("checkpoint_every", checkpoint_every), ("keep", keep)):
        if value is not None and value < 1:
            raise InputError(f"{name}: received {value}; expected an integer from 1")
    require_one_way(place, devices)
    require_length(epochs, steps)
    if resume and weights is not None:
        raise InputError("weights: received some for a resumed run, which has its own; to use them, start a new run")
    folder, writes = RunFolder(Path(out)), place is None or place.rank == 0
    with ExitStack() as held:  # a run is in one process at a time, or in those that train it together
        if resume:
            if writes:
                held.enter_context(folder.held())
            spec, data, backend = _own(folder, spec, data, backend)
        elif spec is None or data is None or backend is None:
            missing = next(
                name for name, value in (("spec", spec), ("data", data), ("backend", backend)) if value is None
            )
            raise InputError(f"{missing}: received none; a new run needs a network, data and a backend")
        read_spec(spec)  # raises, for what names no network, before any picture is looked at
        plan = folder.open()[1] if resume and recipe is None else read_recipe(recipe or default_recipe(weights))
        if resume:
            plan = extended(plan, epochs, steps)
        elif epochs is not None or steps is not None:
            plan = read_recipe(plan, epochs=epochs, steps=steps)
        share = folder.validation(validation) if resume else validation
        pictures = data if isinstance(data, Dataset) else dataset(data, data_dir, validation=share, seed=plan.seed)
        require_held_out(pictures, validation)
        network = _adapted(spec, pictures, adapt)
        check_trainable(network)
        start: Weights | None = None
        changed: tuple[str, ...] = ()
        if weights is not None:
            start, changed = adapted_weights(network, _read(weights), plan.seed, dtype)
        pipeline = Pipeline(pictures, plan, network)
        network = read_spec(network, input_size=list(pipeline.size))
        treatments(network, plan)  # raises for parts that it has not
        trained_tree(network, plan, dtype)  # raises for convolutions of another dtype in a network of float64
        frozen = frozen_layers(network, plan)
        for count, *size in pipeline.batch_shapes():
            part = (plan.statistics_batch or count // plan.accumulate, *size)
            variance_corrections(network, part, frozen)  # raises for a batch too small for a norm
        several = place if devices == 1 else Place(0, 1, devices=devices)
        of = "processes" if devices == 1 else "devices"
        if several is not None:
            require_several(backend, of)
        module = load_backend(backend)
        make_trainer = optional(module, "Trainer" if several is None else "ParallelTrainer")
        require_convolution_dtype(backend, plan.convolution_dtype)
        require_random_layers(network, make_trainer.inputs)
        if devices > 1:
            require_devices(make_trainer, devices, backend)
        if several is not None:
            grouped = getattr(make_trainer, "grouped", False)
            require_whole_groups(plan, several.shards, backend, grouped=grouped, of=of)
        used = module.configure(device, dtype)

        board = TensorBoard(folder) if tensorboard and writes else None
        reporter = as_reporter(progress if writes else None)
        reporter = reporter if board is None else Several(reporter, board)
        if place is None or place.local_rank == 0:  # once on a machine
            require_pictures(pictures, reporter.note)
        group: Group | None = None
        if place is not None:
            group = pipeline.group = joined(module, place, used)
        session: dict[str, Any] = {"backend": backend, "device": used, "versions": module.versions()}
        session["recipe"] = title(plan)
        if devices > 1:
            together = optional(module, "join")(several, used)
            session["devices"] = devices
        state, sums = TrainingState({}), RunProgress()
        if place is not None:
            session["processes"] = place.processes
        if writes and resume:
            longer = epochs is not None or steps is not None
            state, sums = _resume(folder, network, pipeline, dtype, session, reporter, longer)
        elif writes:
            source = None if isinstance(data, Dataset) else str(data)
            held.enter_context(folder.held(new=True))
            state, sums = _begin(folder, network, pipeline, dtype, session, source, start)
        reporter.note(opening_line(network, pipeline, backend=backend, device=used, done=state.step))
        for sentence in changed:
            reporter.note(sentence)
        if devices > 1:
            reporter.note(devices_line(devices))
            trainer = make_trainer(network, plan, state, dtype=dtype, group=together)
        elif group is None:
            trainer = make_trainer(network, plan, state, dtype=dtype)
        else:
            reporter.note(several_line(group, folder.path))
            pipeline.ready()  # in rank 0 it may be already
            state, fields = handed_out(group, state, sums.to_json())
            sums = RunProgress(**fields)
            trainer = make_trainer(network, plan, state, dtype=dtype, group=group)
        if plan.average is not None:
            trainer = AveragingTrainer(trainer, module, network, plan, state)
        if devices > 1:
            trainer = DevicesTrainer(trainer, devices, plan.accumulate)
        if group is not None:
            trainer = ShardingTrainer(trainer, group, plan.accumulate, equal=make_trainer.equal)
        loop = RunLoop(
            network,
            pipeline,
            trainer,
            sums,
            RunRecorder(folder, network, plan, pipeline.inputs, reporter, keep, pictures.fingerprint, writes),
            backend,
            checkpoint_every or pipeline.steps_per_epoch,
            bool if group is None else partial(any_of, group),
            None if group is None else Share(group.rank, group.processes, plan.accumulate, make_trainer.equal),
        )
        total = pipeline.total_steps
        stop = total if until is None else min(total, until * pipeline.steps_per_epoch)
        with nullcontext() if board is None else closing(board):
            done = loop.run(state.step, stop)
        if group is not None:
            group.leave()
        records = folder.records() if writes else ()
        return TrainingResult(
            folder.path,
            _ended(done, stop, total, exhausted=loop.exhausted),
            done,
            tuple(EpochRecord.from_json(record) for record in records if record["kind"] == "epoch"),
        )


def _ended(done: int, stop: int, total: int, *, exhausted: bool) -> Ended:
    if done == total:
        return "finished"
    if exhausted:
        return "stopped early"
    return "until" if done >= stop else "interrupted"


def _read(weights: str | Path | Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    return weights if isinstance(weights, Mapping) else load_weights(weights)[0]


def _begin(
    folder: RunFolder,
    spec: ResNetSpec,
    pipeline: Pipeline,
    dtype: str,
    session: dict[str, Any],
    source: str | None,
    weights: Weights | None,
) -> tuple[TrainingState, RunProgress]:
    """Create the folder of a new run, and return the state it starts from."""
    recipe, progress = pipeline.recipe, RunProgress()
    state = TrainingState(initialize(spec, recipe.seed, dtype) if weights is None else weights)
    about = {
        "format": FORMAT,
        "data": pipeline.data.name,
        "source": source if source is None or source in NAMED else str(Path(source).absolute()),
        **({} if source is None or pipeline.data.held_out is None else {"validation": pipeline.data.held_out}),
        "dtype": dtype,
        "fingerprint": pipeline.data.fingerprint,
        "sessions": [{**session, "step": 0}],
    }
    start = Checkpoint(spec, recipe, state, progress.to_json(), pipeline.data.fingerprint)
    folder.create(start, pipeline.inputs, about)
    return state, progress


def _resume(
    folder: RunFolder,
    spec: ResNetSpec,
    pipeline: Pipeline,
    dtype: str,
    session: dict[str, Any],
    reporter: Reporter,
    longer: bool,
) -> tuple[TrainingState, RunProgress]:
    """The state from which a run resumes; its log is truncated to match. Raises InputError if it is another run.

    Whether it gets another length is decided by its checkpoint, which changes last: so an extension that was
    interrupted is completed by the next session.
    """
    own_spec, own_recipe, about = folder.open()
    plan, per_epoch, data = pipeline.recipe, pipeline.steps_per_epoch, pipeline.data.name
    if own_spec != spec:
        raise InputError(f"{folder.path}: is a run of another network ({own_spec.name}); give the run's network")
    if own_recipe != plan and not (longer and same_but_length(own_recipe, plan)):
        raise InputError(
            f"{folder.path}: is a run with another recipe; to resume it with its own, give no recipe, and for another "
            "length epochs or steps"
        )
    if (about["data"], about["dtype"]) != (data, dtype):
        raise InputError(f"{folder.path}: was trained on {about['data']} in {about['dtype']}; received {data}, {dtype}")
    if about.get("fingerprint") not in (None, pipeline.data.fingerprint):
        raise InputError(
            f"{folder.path}: was trained on other pictures or labels than {data} has now; to train on these, start "
            f"a new run with the weights {folder.path / 'last.safetensors'}"
        )
    checkpoint = folder.load(reporter.warn)
    progress, state = RunProgress(**checkpoint.progress), checkpoint.state
    require_reached(plan, per_epoch, state.step)
    # Sums of an epoch that are still there have not become a record yet: one in the log is repeated.
    folder.cut_log(state.step, unevaluated=progress.images > 0)
    session = {**session, "step": state.step}
    if length(checkpoint.recipe) == length(plan):
        folder.write_about({**about, "sessions": [*about["sessions"], session]})
        return state, progress
    reporter.note(extension_note(checkpoint.recipe, plan, per_epoch, state.step))
    if progress.exhausted(plan.patience):
        progress.waited = 0  # who asks for more epochs than a patience allowed has it begin again
    (before, unit), (after, _) = length(checkpoint.recipe), length(plan)
    session["extended"] = {"unit": unit, "from": before, "to": after}
    about = {**about, "sessions": [*about["sessions"], session]}
    folder.extend(Checkpoint(checkpoint.spec, plan, state, progress.to_json(), checkpoint.data), about)
    return state, progress


def _own(
    folder: RunFolder, spec: Source | None, data: str | Path | Dataset | None, backend: str | None
) -> tuple[Source, str | Path | Dataset, str]:
    """The given ones, or the run's own. Raises InputError for a run that does not know them."""
    own_spec = folder.open()[0]
    data = folder.data() if data is None else data
    return own_spec if spec is None else spec, data, backend or folder.last_backend()


def follows_data(spec: Source) -> tuple[str, ...]:
    """The fields that follow the data unless somebody says otherwise; none if the network is given as a spec."""
    named = not isinstance(spec, ResNetSpec) and (str(spec) in spec_names() or brings_weights(spec))
    return ("classes", "in_channels") if named else ()


def _adapted(spec: Source, data: Dataset, adapt: Sequence[str] | None) -> ResNetSpec:
    """The spec, with the fields that follow the data."""
    network = read_spec(spec)
    adapt = follows_data(spec) if adapt is None else adapt
    found = {"classes": len(data.classes), "in_channels": data.train.channels or network.in_channels}
    return read_spec(network, **{name: found[name] for name in adapt})
