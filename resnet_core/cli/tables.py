"""Tables for the terminal: specs, layers, comparisons, predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from resnet_core.analysis import Layer, Totals
from resnet_core.comparison.result import BackendResult, Comparison
from resnet_core.comparison.wording import scientific
from resnet_core.tree import AveragePool, BatchNorm, Conv, Leaf, Linear, MaxPool, Pad, PadChannels, Shape, Subsample


def show(renderable: RenderableType) -> None:
    """Print to standard output, wide enough for every column if the output is not a terminal."""
    # Names of files and layers are plain text: brackets in them are not markup.
    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = 160
    console.print(renderable)


def spec_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """`resnet list`: one row per named spec."""
    table = _table(
        "name", "block", "depths", "channels", parameters="right", state="right", MACs="right", input="right"
    )
    for row in rows:
        table.add_row(
            row["name"],
            row["block"],
            " ".join(map(str, row["depths"])),
            " ".join(map(str, row["channels"])),
            f"{row['parameters']:,}",
            f"{row['state']:,}",
            f"{row['macs']:,}",
            shape_text(row["input"]),
        )
    return table


def layer_table(layers: Sequence[Layer], totals: Totals, taps: Mapping[str, Shape], input_shape: Shape) -> Group:
    """`resnet show`: one row per layer; a block that repeats the previous one is folded into it."""
    table = _table("layer", "kind", output="right", parameters="right", MACs="right")
    table.add_row("input", "", shape_text(input_shape), "", "")
    for _section, rows in groupby(_folded(layers), key=lambda row: row[0]):
        table.add_section()
        for _, path, layer, times in rows:
            table.add_row(
                path,
                kind_text(layer.leaf),
                shape_text(layer.output_shape),
                _count(layer.parameters, times),
                _count(layer.macs, times),
            )
    table.add_section()
    table.add_row(
        "total", "", shape_text(totals.output_shape), f"{totals.parameters:,}", f"{totals.macs:,}", style="bold"
    )
    described = ", ".join(f"{tap} {shape_text(shape)}" for tap, shape in taps.items())
    return Group(
        table,
        Text(f"state (parameters and running statistics): {totals.state:,}"),
        Text(f"taps: {described}"),
    )


def comparison_table(comparison: Comparison) -> Table:
    """`resnet compare`: one row per backend."""
    results = comparison.backends.values()
    labeled = any(result.accuracy is not None for result in results)
    deep = comparison.level in ("gradients", "training")
    table = _table(
        "backend", parameters="right", state="right", output="right", error="right", at="left",
        **({"gradients": "right"} if deep else {}),
        **({"accuracy": "right"} if labeled else {}),
        **{"first call": "right", "steady": "right", "peak memory": "right"}, versions="left",
    )  # fmt: skip
    for name, result in comparison.backends.items():
        if result.error is not None:
            blanks = ["–"] * (len(table.columns) - 2)
            table.add_row(name, *blanks, "not installed" if result.missing else "failed", style="red")
            continue
        # The error that is closest to its tolerance, or furthest above it.
        shares = {key: result.max_error[key] / limit for key, limit in result.tolerances.items()}
        worst = max(shares, key=lambda key: shares[key], default=None)
        table.add_row(
            name,
            f"{result.parameters:,}",
            f"{result.state:,}",
            shape_text(result.output_shape),
            "–" if worst is None else scientific(result.max_error[worst]),
            (worst or "–").replace("_", " "),
            *([_gradients(result)] if deep else []),
            *(["–" if result.accuracy is None else f"{result.accuracy:.1%}"] if labeled else []),
            _seconds(result.seconds.first),
            _seconds(result.seconds.steady),
            f"{result.peak_memory_bytes / 2**20:,.0f} MiB",
            ", ".join(f"{package} {version}" for package, version in result.versions.items()),
        )
    return table


def prediction_table(predictions: Sequence[Mapping[str, Any]]) -> Table:
    """`resnet predict`: the most likely classes of each picture."""
    table = _table("image", rank="right", **{"class": "right"}, label="left", probability="right")
    for prediction in predictions:
        table.add_section()
        for rank, row in enumerate(prediction["top"], start=1):
            table.add_row(
                prediction["image"] if rank == 1 else "",
                str(rank),
                str(row["class"]),
                row["label"] or "",
                f"{row['probability']:.4f}",
            )
    return table


def shape_text(shape: Sequence[int]) -> str:
    """(224, 224, 3) as 224 x 224 x 3."""
    return " x ".join(map(str, shape))


def kind_text(leaf: Leaf) -> str:
    """The kind of a layer, with the numbers that differ from the usual ones."""
    kind = type(leaf).__name__
    match leaf:
        case Conv():
            notes = [f"{leaf.kernel[0]}x{leaf.kernel[1]}"]
            notes += [f"stride {leaf.stride[0]}"] if leaf.stride != (1, 1) else []
            notes += [f"dilation {leaf.dilation[0]}"] if leaf.dilation != (1, 1) else []
            notes += [f"{leaf.groups} groups"] if leaf.groups > 1 else []
            notes += ["bias"] if leaf.bias else []
        case BatchNorm():
            notes = [f"epsilon {leaf.epsilon:g}", f"decay {leaf.decay:g}"]
        case MaxPool() | AveragePool():
            notes = [f"{leaf.kernel[0]}x{leaf.kernel[1]}", f"stride {leaf.stride[0]}"]
            notes += ["same"] if leaf.padding == "same" else []
        case Pad():
            notes = [f"{leaf.padding[0][0]} of zeros"]
        case Subsample():
            notes = [f"stride {leaf.stride[0]}"]
        case PadChannels():
            notes = [f"{leaf.before} before", f"{leaf.after} after"]
        case Linear():
            notes = ["at every position"] if leaf.dense else []
        case _:
            notes = []
    return " ".join((kind, ", ".join(notes))).strip()


def _folded(layers: Sequence[Layer]) -> Iterator[tuple[str, str, Layer, int]]:
    """(section, path, layer, times): consecutive identical blocks of a stage are merged into one."""
    blocks = [(name, list(rows)) for name, rows in groupby(layers, key=lambda layer: _section(layer.path))]
    index = 0
    while index < len(blocks):
        name, rows = blocks[index]
        last = index
        while last + 1 < len(blocks) and _same(rows, name, blocks[last + 1]):
            last += 1
        times = last - index + 1
        number = blocks[last][0].rpartition("block")[2]
        label = name if times == 1 else f"{name}…{number}"
        for layer in rows:
            yield label, label + layer.path[len(name) :], layer, times
        index = last + 1


def _section(path: str) -> str:
    first, _, rest = path.partition(".")
    return f"{first}.{rest.partition('.')[0]}" if first.startswith("stage") else first


def _same(rows: Sequence[Layer], name: str, other: tuple[str, Sequence[Layer]]) -> bool:
    other_name, other_rows = other
    if "." not in name or name.partition(".")[0] != other_name.partition(".")[0] or len(rows) != len(other_rows):
        return False
    return all(
        a.path[len(name) :] == b.path[len(other_name) :] and a.leaf == b.leaf and a.output_shape == b.output_shape
        for a, b in zip(rows, other_rows, strict=True)
    )


def _count(value: int, times: int) -> str:
    if not value:
        return ""
    return f"{value:,}" if times == 1 else f"{times} x {value:,}"


def _table(*left: str, **aligned: Any) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for header in left:
        table.add_column(header, no_wrap=True)
    for header, justify in aligned.items():
        table.add_column(header, justify=justify, no_wrap=True)
    return table


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def _gradients(result: BackendResult) -> str:
    """The error at full width and, if it does not decide, that of the narrow network."""
    shown = scientific(result.max_error["gradients"])
    narrow = result.max_error.get("gradients_narrow")
    return shown if narrow is None else f"{shown}, narrow {scientific(narrow)}"
