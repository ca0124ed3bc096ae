"""`resnet data`: what a data set holds, and what is damaged in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resnet_core.cli.options import JsonFlag, print_json
from resnet_core.cli.output import complain
from resnet_core.cli.status import QuietFlag, counted, status

if TYPE_CHECKING:
    from resnet_core.data.check import DataReport, SplitReport

#: Sizes that are listed before it says how many more there are.
MOST = 5


def check_data_set(
    data: Annotated[
        str, typer.Argument(metavar="D", help="fashion-mnist, mnist, cifar10, a folder, .npz, .tar, or .parquet.")
    ],
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where named data sets are, or are downloaded to.")
    ] = None,
    validation: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Hold out this share of every class of a folder without a test split."),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="What is held out is drawn from it, as from a recipe's.")
    ] = 0,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Count the pictures of each class, and read each once. Exit code 1 if some cannot be read; all are named."""
    from resnet_core.data.check import check_data
    from resnet_core.data.held_out import require_held_out
    from resnet_core.data.named import dataset

    found = dataset(data, data_dir, validation=validation, seed=seed)
    require_held_out(found, validation)
    report = check_data(found, counted(status(quiet=quiet), "pictures"))
    if as_json:
        print_json(report.to_json())
    else:
        _print(report, found.test_name)
    for message in report.bad.values():
        complain(message)
    raise typer.Exit(1 if report.bad else 0)


def _print(report: DataReport, test_name: str) -> None:
    from resnet_core.cli import tables

    classes = list(report.train.classes)
    columns = [tables.Column("class", classes, "left")]
    splits = (("training", report.train), (test_name, report.test))
    for title, split in splits:
        columns.append(tables.Column(title, [f"{split.classes[name]:,}" for name in classes]))
    tables.show(tables.fitted_table(columns))
    for title, split in splits:
        total = sum(split.classes.values())
        bad = f"; {len(split.bad):,} cannot be read" if split.bad else ""
        tables.show(f"{title}: {total:,} pictures of {len(classes)} classes, {_sizes(split)}{bad}")


def _sizes(split: SplitReport) -> str:
    first = [f"{height} x {width}" for height, width in list(split.sizes)[:MOST]]
    rest = len(split.sizes) - len(first)
    return ", ".join(first) + (f" and {rest:,} other sizes" if rest else "")
