"""`resnet predict`: the most likely classes of pictures."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resnet_core.cli.options import DeviceOption, JsonFlag, SetOption, output_file, resolve_spec
from resnet_core.cli.output import complain, say
from resnet_core.cli.status import QuietFlag
from resnet_core.errors import InputError
from resnet_core.files import write_atomically
from resnet_core.json_values import finite
from resnet_core.prediction.backend import has_weights, last_backend, prediction_backend
from resnet_core.spec_files import parse_overrides
from resnet_core.specification import ResNetSpec
from resnet_core.workers.backend_worker import importing_worker

if TYPE_CHECKING:
    from resnet_core.prediction.predict import Prediction


def predict_pictures(
    network: Annotated[
        str, typer.Argument(metavar="RUN|SPEC", help="A run or a file of weights; or a spec, with --weights.")
    ],
    pictures: Annotated[
        list[Path], typer.Argument(metavar="PICTURE…", help="Pictures, folders of them, .tar, .parquet.")
    ],
    weights: Annotated[Path | None, typer.Option(metavar="F", help="A neutral file, or another library's.")] = None,
    backend: Annotated[
        str | None, typer.Option(metavar="B", help="By default the run's own, or one that is installed.")
    ] = None,
    top: Annotated[int, typer.Option(metavar="N", min=1, help="How many classes to print.")] = 5,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="F", help="Class names, one a line, or imagenet; by default those of the weights."),
    ] = None,
    device: DeviceOption = "auto",
    overrides: SetOption = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="F", help="Write F.csv or F.json.", callback=output_file),
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print only CSV.")] = False,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Classify pictures, prepared as the network was trained. Exit code 1 if some of them cannot be read."""
    if output is not None and output.suffix.lower() not in (".csv", ".json"):
        raise InputError(f"predict: received {output.name!r}; expected a file that ends in .csv or .json")
    spec = resolve_spec(network, overrides) if overrides else network
    sized = "input_size" in parse_overrides(overrides or [])
    size = spec.input_size if sized and isinstance(spec, ResNetSpec) else None
    name = prediction_backend(backend, device, last_backend(spec))
    if not has_weights(spec, weights):
        from resnet_core.prediction.network import trained_network

        trained_network(spec, weights)  # which says what is missing, before any framework starts
    with importing_worker(name) as worker:
        # Nobody waits for what is imported and read here: the worker's framework takes longer.
        from resnet_core.cli import tables
        from resnet_core.prediction.network import trained_network
        from resnet_core.prediction.predict import predict_in

        found = trained_network(spec, weights, size=size)
        predictions = predict_in(worker, name, found, pictures, top=top, labels=labels, device=device)
    bad = [prediction for prediction in predictions if prediction.error]
    if len(bad) == len(predictions):
        raise InputError("; ".join(str(prediction.error) for prediction in bad[:3]) + (" …" if len(bad) > 3 else ""))
    if found.assumed and not quiet:
        complain(found.assumed)
    for prediction in bad:
        complain(str(prediction.error))
    if output is not None:
        write_atomically(output, (to_csv if output.suffix.lower() == ".csv" else _to_json)(predictions).encode())
    elif as_json or as_csv:
        say((to_csv if as_csv else _to_json)(predictions), end="")
    else:
        from rich.text import Text

        tables.show(tables.prediction_table([prediction.to_json() for prediction in predictions]))
        if not (found.assumed or quiet):  # what is assumed has been said
            tables.show(Text(f"pictures: {found.preparation}"))
    raise typer.Exit(1 if bad else 0)


def to_csv(predictions: Sequence[Prediction]) -> str:
    """A line for each class of each picture, and one with the error of a picture that cannot be read."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("image", "rank", "class", "label", "probability", "error"))
    for prediction in predictions:
        for rank, score in enumerate(prediction.top, start=1):
            row = (rank, score.index, score.label or "", f"{score.probability:.9g}", "")
            writer.writerow((prediction.image, *row))
        if prediction.error:
            writer.writerow((prediction.image, "", "", "", "", prediction.error))
    return text.getvalue()


def _to_json(predictions: Sequence[Prediction]) -> str:
    return json.dumps(finite([prediction.to_json() for prediction in predictions]), indent=1) + "\n"
