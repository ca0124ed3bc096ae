"""`resnet train` and `resnet evaluate`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resnet_core.cli.endings import ending, following
from resnet_core.cli.options import (
    ARGUMENTS,
    DeviceOption,
    JsonFlag,
    SetOption,
    output_file,
    output_folder,
    print_json,
    quiet_frameworks,
    resolve_spec,
)
from resnet_core.cli.output import say
from resnet_core.cli.status import QuietFlag, counted, status
from resnet_core.errors import InputError, ResNetError, TrainingError
from resnet_core.spec_files import parse_overrides
from resnet_core.workers.memory import keep_freed_memory, no_memory

if TYPE_CHECKING:
    from resnet_core.training.reporting import Reporter

FolderOption = Annotated[
    Path | None, typer.Option("--data-dir", metavar="DIR", help="Where named data sets are, or are downloaded to.")
]
ValidationOption = Annotated[
    float | None,
    typer.Option(metavar="SHARE", help="Hold out this share of every class of a folder without a test split, as 0.2."),
]


def train_network(
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="The run's folder; new, or with --resume the run's own.", callback=output_folder
        ),
    ],
    spec: Annotated[
        str | None,
        typer.Argument(metavar="SPEC", help="A name, a file, a run; with --resume, the run's own."),
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="D", help="fashion-mnist, mnist, cifar10, a folder, .npz, .tar, or .parquet.")
    ] = None,
    backend: Annotated[str | None, typer.Option(metavar="B", help="torch, keras, flax, numpy, …")] = None,
    recipe: Annotated[str | None, typer.Option(metavar="F", help="A name from `resnet recipes`, or a file.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the run in --out; nothing else is needed.")] = False,
    until: Annotated[
        int | None, typer.Option(metavar="EPOCH", min=1, help="Stop after this epoch, to resume later.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="The length, also another one for a run that is resumed.")
    ] = None,
    steps: Annotated[int | None, typer.Option(metavar="N", min=1, help="The length in steps, as --epochs.")] = None,
    weights: Annotated[
        Path | None,
        typer.Option(metavar="F", help="Start from a neutral file or another library's; another head is replaced."),
    ] = None,
    freeze: Annotated[
        str | None,
        typer.Option(metavar="PARTS", help="Parts that are not trained: stem,stage1 … or backbone (all but the head)."),
    ] = None,
    device: DeviceOption = "auto",
    dtype: Annotated[str, typer.Option(metavar="TYPE", help="float32 or float64.")] = "float32",
    data_dir: FolderOption = None,
    validation: ValidationOption = None,
    checkpoint_every: Annotated[
        int | None, typer.Option(metavar="STEPS", min=1, help="Steps between checkpoints; by default one epoch.")
    ] = None,
    keep: Annotated[int, typer.Option(metavar="N", min=1, help="How many checkpoints to keep.")] = 3,
    processes: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=4096, help="Train in N processes, which compute what one would."),
    ] = None,
    devices: Annotated[
        int, typer.Option(metavar="N", min=1, help="Train on N devices of one process (flax, keras on JAX).")
    ] = 1,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write TensorBoard's event files, to DIR/tensorboard.")
    ] = False,
    quiet: QuietFlag = False,
    overrides: SetOption = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="KEY=VALUE", help="Replace a field of the recipe; can be repeated."),
    ] = None,
) -> None:
    """Train a network in one framework. The run can be resumed, and evaluated, in any other."""
    from resnet_core.backend import require_several
    from resnet_core.cli.processes import Run, crashed, own_place, run_ranks, speak
    from resnet_core.cli.progress import TerminalReporter
    from resnet_core.conversion.read import import_weights
    from resnet_core.data.dataset import test_name
    from resnet_core.training.parallel.devices import require_one_way
    from resnet_core.training.parallel.launched import launched
    from resnet_core.training.parallel.place import Place
    from resnet_core.training.recipe_files import default_recipe, recipe_overrides
    from resnet_core.training.recipe_files import recipe as read_recipe
    from resnet_core.training.run_folder import RunFolder
    from resnet_core.training.start import follows_data, train

    speak()
    quiet_frameworks()
    keep_freed_memory()
    network = None if spec is None else resolve_spec(spec, overrides)
    adapt = () if spec is None else follows_data(spec)
    fixed = parse_overrides(overrides or [])
    fields = recipe_overrides(changes or [])
    if freeze is not None:
        fields["freeze"] = [part.strip() for part in freeze.split(",")]
    given = recipe is not None or fields
    plan = read_recipe(recipe or default_recipe(weights), **fields) if given else None
    start = None if weights is None else import_weights(weights, likely=network).weights
    require_one_way(launched(os.environ) if processes in (None, 1) else Place(0, processes), devices)
    if processes not in (None, 1) and (used := backend or (RunFolder(out).last_backend() if resume else None)):
        require_several(used)  # before any process is started
    asked = Run(out, resume, complete=None not in (spec, data, backend))
    run_ranks(ARGUMENTS, processes, asked)
    told, place = asked.told(), own_place()
    if told is not asked and told.resumes and asked.complete:
        start = None  # a launcher has started the line again that began the run
    speaks = place is None or place.rank == 0
    evaluated = test_name(RunFolder(told.folder).validation(validation) if told.resumes else validation)
    reporter = TerminalReporter(quiet=quiet or not speaks, test_name=evaluated)
    try:
        result = train(
            network, data, backend=backend, out=told.folder, recipe=plan, resume=told.resumes, until=until,
            epochs=epochs, steps=steps, weights=start, device=device, dtype=dtype, data_dir=data_dir,
            validation=validation, checkpoint_every=checkpoint_every, keep=keep, tensorboard=tensorboard,
            progress=reporter, adapt=[field for field in adapt if field not in fixed], place=place,
            devices=devices,
        )  # fmt: skip
    except TrainingError as error:
        reporter.close()
        reporter.warn(str(error))
        raise typer.Exit(1) from error
    except (ResNetError, MemoryError, OSError):
        raise
    except Exception as error:
        if place is None or no_memory(error) is not None:
            raise
        raise crashed() from None
    finally:
        reporter.close()
    if not speaks:
        raise typer.Exit(130 if result.ended == "interrupted" else 0)
    _draw(out, reporter)
    if result.ended == "interrupted":
        reporter.warn(f"stopped after step {result.step}, which is saved; use --resume to continue")
        raise typer.Exit(130)
    if line := ending(result, evaluated):
        say(line)
        for note in following(result):
            reporter.note(note)


def evaluate_run(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A folder that `resnet train` made.")],
    data: Annotated[
        str | None, typer.Option(metavar="D", help="A data set as in training; by default the run's own.")
    ] = None,
    backend: Annotated[str | None, typer.Option(metavar="B", help="By default the one that trained last.")] = None,
    which: Annotated[str, typer.Option("--weights", metavar="W", help="best or last.")] = "best",
    device: DeviceOption = "auto",
    data_dir: FolderOption = None,
    validation: ValidationOption = None,
    classes: Annotated[bool, typer.Option("--classes", help="Also a table: what each class was taken for.")] = False,
    confusion: Annotated[
        Path | None,
        typer.Option(metavar="F", help="Draw the confusion matrix, to F.svg or F.png.", callback=output_file),
    ] = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Compute a run's test accuracy and loss. The framework may be another than the run's."""
    from resnet_core.training.evaluation import evaluate

    quiet_frameworks()
    keep_freed_memory()
    result = evaluate(
        run, data, backend=backend, weights=which, device=device, data_dir=data_dir, validation=validation,
        progress=counted(status(quiet=quiet), "pictures", every=1),
    )  # fmt: skip
    if as_json:
        print_json(result.to_json())
    else:
        say(
            f"{run} ({which}) in {result.backend}: accuracy {result.accuracy:.4f}, "
            + (f"top 5 {result.top5:.4f}, " if len(result.names) > 5 else "")
            + f"loss {result.loss:.4f} on {result.pictures:,} {result.pictures_name} pictures of {result.data}"
        )
    if classes and not as_json:
        from resnet_core.cli import tables

        tables.show(tables.class_table(result))
    if confusion is not None:
        from resnet_core.training.confusion import draw_confusion

        draw_confusion(result, confusion)


def _draw(run: Path, reporter: Reporter) -> None:
    from resnet_core.training.curves import draw_curves, read_curves

    try:
        draw_curves(read_curves([run]), [run / f"curves.{ending}" for ending in ("png", "svg")])
    except InputError as error:  # the run is whole without them
        reporter.warn(str(error))
