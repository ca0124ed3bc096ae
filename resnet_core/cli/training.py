"""`resnet train` and `resnet evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from resnet_core.backend import DEVICES
from resnet_core.cli.options import (
    BackendOption,
    DeviceOption,
    JsonFlag,
    SetOption,
    SpecArgument,
    print_json,
    quiet_frameworks,
    resolve_spec,
)
from resnet_core.errors import InputError, TrainingError, require_choice
from resnet_core.specification import ResNetSpec

DataOption = Annotated[
    str, typer.Option("--data", metavar="D", help="fashion-mnist, mnist, cifar10, a folder, or an .npz file.")
]
FolderOption = Annotated[
    Path | None, typer.Option("--data-dir", metavar="DIR", help="Where named data sets are, or are downloaded to.")
]


def train_network(
    spec: SpecArgument,
    data: DataOption,
    backend: BackendOption,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The run's folder; new, or with --resume an old one.")],
    recipe: Annotated[
        str | None, typer.Option(metavar="F", help="A recipe's name or file; by default fashion-adam.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")] = False,
    until: Annotated[
        int | None, typer.Option(metavar="EPOCH", min=1, help="Stop after this epoch, to go on later.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="F", help="Start from these; a head for other classes is replaced.")
    ] = None,
    device: DeviceOption = "auto",
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    data_dir: FolderOption = None,
    checkpoint_every: Annotated[
        int | None, typer.Option(metavar="STEPS", min=1, help="By default once an epoch.")
    ] = None,
    keep: Annotated[int, typer.Option(min=1, help="How many checkpoints to keep.")] = 3,
    overrides: SetOption = None,
    changes: Annotated[
        list[str] | None, typer.Option("--with", metavar="KEY=VALUE", help="Replace a field of the recipe.")
    ] = None,
) -> None:
    """Train a network in one framework; the run can go on, and be evaluated, in any other."""
    from resnet_core.cli.progress import TerminalReporter
    from resnet_core.conversion.read import read_weights
    from resnet_core.data.named import dataset
    from resnet_core.training.recipe_files import recipe as read_recipe
    from resnet_core.training.recipe_files import recipe_overrides
    from resnet_core.training.run_folder import RunFolder
    from resnet_core.training.run_loop import Options, fine_tuned, train
    from resnet_core.weight_file import load_weights

    quiet_frameworks()
    resolved = resolve_spec(spec, overrides)
    if resume and recipe is None and not changes:
        plan = RunFolder(out).open()[1]
    else:
        plan = read_recipe(recipe or "fashion-adam", **recipe_overrides(changes or []))
    start = None
    if weights is not None and resume:
        raise InputError("--weights: starts a new run; leave it out with --resume, which goes on with the run's own")
    if weights is not None:
        own = load_weights(weights)[0] if weights.suffix == ".safetensors" else read_weights(weights, resolved)
        start = fine_tuned(resolved, own, plan.seed)
    loaded = dataset(data, data_dir)
    options = Options(
        backend=backend, out=out, resume=resume, until=until, device=device, dtype=dtype, weights=start,
        checkpoint_every=checkpoint_every, keep=keep,
    )  # fmt: skip
    reporter = TerminalReporter()
    try:
        result = train(resolved, plan, loaded, options, reporter)
    except TrainingError as error:
        reporter.close()
        reporter.warn(str(error))
        raise typer.Exit(1) from error
    finally:
        reporter.close()
    _draw(out, resolved, plan.name, reporter)
    if result["ended"] == "interrupted":
        reporter.warn(f"stopped after step {result['step']}, which is saved; --resume goes on from there")
        raise typer.Exit(130)
    if "last" in result:
        last = result["last"]
        print(
            f"{out}: {result['step']} steps, test accuracy {last['test_accuracy']:.4f}, "
            f"test loss {last['test_loss']:.4f}"
        )


def evaluate_run(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A folder that `resnet train` made.")],
    data: DataOption,
    backend: Annotated[str | None, typer.Option(metavar="B", help="By default the one that trained last.")] = None,
    which: Annotated[str, typer.Option("--weights", metavar="W", help="best or last.")] = "best",
    device: DeviceOption = "auto",
    data_dir: FolderOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Test accuracy and loss of a trained network, in any framework."""
    from resnet_core.backend import load_backend
    from resnet_core.data.named import dataset
    from resnet_core.training.pipeline import Pipeline
    from resnet_core.training.run_folder import RunFolder
    from resnet_core.training.run_loop import evaluate
    from resnet_core.weight_file import load_weights

    quiet_frameworks()
    require_choice("weights", which, ("best", "last"))
    require_choice("device", device, DEVICES)
    spec, plan, about = RunFolder(run).open()
    name = backend or about["sessions"][-1]["backend"]
    pipeline = Pipeline(dataset(data, data_dir), plan, spec)
    weights, _ = load_weights(run / f"{which}.safetensors", spec=spec)
    module = load_backend(name)
    used = module.configure(device, about["dtype"])
    model = module.build(spec, weights=weights, dtype=about["dtype"])
    found = evaluate(lambda images: module.predict(model, images), pipeline)
    result: dict[str, Any] = {
        "run": str(run), "weights": which, "backend": name, "device": used, "data": pipeline.data.name,
        "pictures": len(pipeline.data.test), "accuracy": found["accuracy"], "loss": found["loss"],
    }  # fmt: skip
    if as_json:
        print_json(result)
    else:
        print(
            f"{run} ({which}) in {name}: accuracy {found['accuracy']:.4f}, loss {found['loss']:.4f} on "
            f"{len(pipeline.data.test):,} test pictures of {pipeline.data.name}"
        )


def _draw(out: Path, spec: ResNetSpec, recipe: str, reporter: Any) -> None:
    from resnet_core.training.run_folder import RunFolder

    try:
        from resnet_core.training.curves import draw_curves

        draw_curves(list(RunFolder(out).records()), out, f"{spec.name}, {recipe}")
    except ImportError:
        reporter.warn('curves are not drawn: they need matplotlib (pip install "matplotlib>=3.9")')
