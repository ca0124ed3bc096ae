"""`resnet convert` and `resnet certify`: weights from one library to another, and the proof."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from resnet_core.cli.options import JsonFlag, SetOption, output_file, print_json, resolve_spec
from resnet_core.cli.status import QuietFlag, status
from resnet_core.errors import InputError

SpecOption = Annotated[
    str | None,
    typer.Option("--spec", metavar="SPEC", help="The network; by default it is inferred from the file."),
]
FromOption = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="FORMAT",
        help="resnet, torchvision, timm, hf, keras, slim, flax, nnx; by default by the names.",
    ),
]


def convert_weights(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A file of weights, anyone's; a folder or a run.")],
    destination: Annotated[Path, typer.Argument(metavar="DST", help="The new file or folder.", callback=output_file)],
    spec: SpecOption = None,
    source_format: FromOption = None,
    destination_format: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="FORMAT",
            help="resnet, torchvision, timm, hf, keras, slim, flax, nnx, onnx; by default by the ending.",
        ),
    ] = None,
    deploy: Annotated[bool, typer.Option("--deploy", help="Fold norms into convolutions, for inference.")] = False,
    overrides: SetOption = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Convert weights, with a certificate. It says, measured, that both sides compute the same."""
    from resnet_core.cli import tables
    from resnet_core.conversion.convert import convert

    if spec is None and overrides:
        raise InputError("convert: received --set without --spec; name the network that it changes")
    show = status(quiet=quiet)
    show(f"reading {source}")
    done = convert(
        source,
        destination,
        spec=None if spec is None else resolve_spec(spec, overrides),
        source_format=source_format,
        destination_format=destination_format,
        deploy=deploy,
    )
    show("")
    if as_json:
        print_json(done.certificate.to_json())
        return
    for line in done.told():
        tables.show(line)


def certify_weights(
    first: Annotated[Path, typer.Argument(metavar="FILE", help="A file of weights.")],
    second: Annotated[Path, typer.Argument(metavar="FILE", help="Another one.")],
    spec: SpecOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Check whether two files of weights compute the same. Anyone may have written them. Exit code 1 if they do not."""
    from resnet_core.cli import tables
    from resnet_core.conversion.certificate import certify
    from resnet_core.conversion.read import import_weights

    network = None if spec is None else resolve_spec(spec, None)
    proof = certify(import_weights(first, network), import_weights(second, network))
    if as_json:
        print_json(proof.to_json())
    else:
        for line in (*proof.not_heard, proof.sentence()):
            tables.show(line)
    raise typer.Exit(0 if proof.equal else 1)
