"""`resnet show`: the layers of a network as a tree, with like blocks folded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from resnet_core import spec_files
from resnet_core.analysis import Layer, image_shape, layers, state, tap_shapes, totals
from resnet_core.cli.options import (
    JsonFlag,
    SetOption,
    SpecArgument,
    brings_weights,
    output_file,
    parse_size,
    print_json,
    resolve_spec,
)
from resnet_core.errors import InputError
from resnet_core.presentation.folding import Block, Section, fold, names_text
from resnet_core.presentation.layer_text import kind_text
from resnet_core.specification import ResNetSpec
from resnet_core.tree import NORMS, DropPath, Leaf

if TYPE_CHECKING:
    from resnet_core.prediction.network import TrainedNetwork

#: Names of classes that are listed before it says how many more there are.
NAMES = 20

#: A row of the table: what it is called, of what kind it is, the shape of its output, parameters and MACs.
Row = tuple[str, str, Sequence[int] | None, int, int]


def show_spec(
    spec: SpecArgument,
    input_size: Annotated[
        str | None, typer.Option("--input", metavar="SIZE", help="Image size: 224, or 480x640 (height x width).")
    ] = None,
    depth: Annotated[
        int,
        typer.Option(metavar="N", min=1, max=3, help="1: stem, stages and head; 2: their blocks too; 3: all layers."),
    ] = 3,
    backend: Annotated[
        str | None, typer.Option(metavar="B", help="Show instead what this backend calls each tensor.")
    ] = None,
    diagram: Annotated[
        Path | None,
        typer.Option(metavar="F", help="Draw the network instead, to F.svg or F.png.", callback=output_file),
    ] = None,
    overrides: SetOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Show a network's layers with shapes, parameters and MACs. Or what a framework calls each tensor."""
    if diagram is not None and (backend is not None or as_json):
        other = "--json" if backend is None else "--backend"
        raise InputError(f"show: received --diagram and {other}; expected one of them")
    resolved = resolve_spec(spec, overrides)
    size = resolved.input_size if input_size is None else parse_size(input_size, "--input")
    if diagram is not None:
        from resnet_core.presentation.diagram import draw

        draw(resolved, diagram, size)
    elif backend is not None:
        _native(resolved, backend, as_json=as_json)
    elif as_json:
        print_json(_to_json(resolved, size))
    else:
        _print(resolved, size, depth)
        if brings_weights(spec):
            from resnet_core.prediction.network import trained_network

            _print_inputs(trained_network(spec))


def _print(spec: ResNetSpec, size: tuple[int, int], depth: int) -> None:
    from rich.text import Text

    from resnet_core.cli import tables

    sections, summary = fold(spec, size), totals(spec, size)
    norms = {kind_text(leaf) for leaf in _leaves(sections) if isinstance(leaf, NORMS)}
    table = tables.plain_table("layer", "kind", output="right", parameters="right", MACs="right")
    table.columns[1].no_wrap = False
    table.add_row("input", "", tables.shape_text(image_shape(spec, size)), "", "")
    for section in sections:
        table.add_section()
        for name, kind, shape, parameters, macs in _rows(section, depth, settings=len(norms) > 1):
            counts = (f"{parameters:,}" if parameters else "", f"{macs:,}" if macs else "")
            style = "bold" if name == section.name else ""
            table.add_row(name, kind, "" if shape is None else tables.shape_text(shape), *counts, style=style)
    table.add_section()
    counts = (f"{summary.parameters:,}", f"{summary.macs:,}")
    table.add_row("total", "", tables.shape_text(summary.output_shape), *counts, style="bold")
    tables.show(table)
    if len(norms) == 1:
        (norm,) = norms
        tables.show(Text(f"every {norm.replace(',', ':', 1)}"))
    tables.show(Text(f"state (parameters and running statistics): {summary.state:,}"))
    described = (f"{tap} {tables.shape_text(shape)}" for tap, shape in tap_shapes(spec, size).items())
    tables.show(Text("taps: " + ", ".join(described)))


def _print_inputs(found: TrainedNetwork) -> None:
    """What the weights say of their pictures."""
    from rich.text import Text

    from resnet_core.cli import tables

    tables.show(Text(f"pictures: {found.preparation}" + (" (assumed)" if found.assumed else "")))
    if found.classes:
        more = len(found.classes) - NAMES
        named = ", ".join(found.classes[:NAMES]) + (f" and {more:,} more" if more > 0 else "")
        tables.show(Text(f"classes: {named}"))


def _leaves(sections: Sequence[Section]) -> Iterator[Leaf]:
    return (layer.leaf for section in sections for block in section.blocks for layer in block.layers)


def _rows(section: Section, depth: int, *, settings: bool) -> Iterator[Row]:
    count = sum(len(block.names) for block in section.blocks)
    blocks = any(name for block in section.blocks for name in block.names)
    kind = f"{count} block{'s' * (count > 1)}" if blocks else ""
    yield section.name, kind, section.output_shape, section.parameters, section.macs
    for block in section.blocks if depth > 1 else ():
        if blocks:
            times = f"{len(block.names)} alike, each" if len(block.names) > 1 else ""
            sums = (sum(layer.parameters for layer in block.layers), sum(layer.macs for layer in block.layers))
            yield f"  {names_text(block.names)}", times, block.output_shape, *sums
        if depth > 2 or not blocks:
            yield from _layer_rows(
                block, f"{section.name}.{block.names[0]}".rstrip("."), "    " if blocks else "  ", settings
            )


def _layer_rows(block: Block, path: str, indent: str, settings: bool) -> Iterator[Row]:
    for layer in (*block.body, *(block.shortcut or ())):
        yield _layer_row(layer, path, indent, settings, block.rates)
    if block.shortcut is not None:
        yield f"{indent}+", _addition(block, path), None, 0, 0
    for layer in block.post:
        yield _layer_row(layer, path, indent, settings, ())


def _layer_row(layer: Layer, path: str, indent: str, settings: bool, rates: Sequence[float]) -> Row:
    """Of the first of like blocks, which may be dropped at different `rates`."""
    kind = kind_text(layer.leaf, settings=settings)
    if isinstance(layer.leaf, DropPath) and rates[0] != rates[-1]:
        kind += f" to {rates[-1]:.3g}"
    return indent + layer.path[len(path) + 1 :], kind, layer.output_shape, layer.parameters, layer.macs


def _addition(block: Block, path: str) -> str:
    """What is added to the body; a shortcut that does not read the block's input says what it reads."""
    shortcut = "shortcut" if block.shortcut else "identity"
    return f"{shortcut} of {block.body[block.reads - 1].path[len(path) + 1 :]}" if block.reads else shortcut


def _to_json(spec: ResNetSpec, size: tuple[int, int]) -> Mapping[str, Any]:
    summary = totals(spec, size)
    return {
        "name": spec.name,
        "input": list(image_shape(spec, size)),
        "parameters": summary.parameters,
        "state": summary.state,
        "macs": summary.macs,
        "output": list(summary.output_shape),
        "taps": {tap: list(value) for tap, value in tap_shapes(spec, size).items()},
        "layers": [_layer_to_json(layer) for layer in layers(spec, size)],
        "spec": json.loads(spec_files.to_json(spec)),
    }


def _layer_to_json(layer: Layer) -> dict[str, Any]:
    return {
        "path": layer.path,
        "kind": type(layer.leaf).__name__,
        "output": list(layer.output_shape),
        "parameters": layer.parameters,
        "state": layer.state,
        "macs": layer.macs,
        "tensors": {name: list(tensor.shape) for name, tensor in layer.leaf.tensors().items()},
    }


def _native(spec: ResNetSpec, backend: str, *, as_json: bool) -> None:
    """The neutral and the framework's own names and shapes of every tensor."""
    from resnet_core.initialization import initialize
    from resnet_core.workers.backend_process import BackendProcess

    with BackendProcess(backend) as process:
        process.open()
        process.build(spec, initialize(spec))
        found = process.native_tensors()
    shapes = state(spec)
    if as_json:
        rows = [
            {"name": name, "shape": list(shapes[name]), "own_name": own, "own_shape": list(shape)}
            for name, (own, shape) in found.items()
        ]
        print_json({"name": spec.name, "backend": backend, "versions": process.versions, "tensors": rows})
        return
    from resnet_core.cli import tables

    versions = ", ".join(f"{package} {version}" for package, version in process.versions.items())
    table = tables.plain_table("neutral name", "shape", f"in {versions}", "shape there")
    for column in (table.columns[0], table.columns[2]):
        column.no_wrap, column.overflow = False, "fold"  # a name is to be copied: never cut
    for name, (own, shape) in found.items():
        table.add_row(name, tables.shape_text(shapes[name]), own, tables.shape_text(shape))
    tables.show(table)
