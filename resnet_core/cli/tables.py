"""Tables for the terminal: specs, comparisons, predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table

from resnet_core.comparison.result import BackendResult, Comparison
from resnet_core.comparison.wording import scientific


def show(renderable: RenderableType) -> None:
    """Print to standard output, wide enough for every column if the output is not a terminal."""
    # Names of files and layers are plain text: brackets in them are not markup.
    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = 160
    console.print(renderable)


def spec_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """`resnet list`: one row per named spec."""
    table = plain_table(
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


def comparison_table(comparison: Comparison) -> Table:
    """`resnet compare`: one row per backend."""
    results = comparison.backends.values()
    labeled = any(result.accuracy is not None for result in results)
    deep = comparison.level in ("gradients", "training")
    table = plain_table(
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
    table = plain_table("image", rank="right", **{"class": "right"}, label="left", probability="right")
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


def plain_table(*left: str, **aligned: Any) -> Table:
    """Columns without lines: `left` by name, the others {name: justification}."""
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
