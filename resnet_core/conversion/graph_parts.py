"""A graph's layers as stem, blocks and head, from which its fields are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from resnet_core.conversion.graph_layers import POOLED, Step
from resnet_core.conversion.graph_steps import Fork, Gate, Item, is_step
from resnet_core.errors import WeightsError
from resnet_core.folding import standardized


class Parts(NamedTuple):
    """The layers before the blocks, the blocks, and the layers behind them.

    Without shortcuts nothing shows where a block begins: it is counted from convolution to convolution.
    """

    stem: Sequence[Item]
    blocks: Sequence[Fork]
    tail: Sequence[Item]
    preactivation: bool
    plain: bool = False

    @property
    def bodies(self) -> list[list[Step]]:
        """The convolutions of every block."""
        return [convolutions(block.body) for block in self.blocks]


def convolutions(items: Iterable[Item]) -> list[Step]:
    """Those among the items themselves."""
    return [item for item in items if isinstance(item, Step) and item.kind == "conv"]


def steps(items: Iterable[Item]) -> Iterator[Step]:
    """Every layer, in blocks too, but for what is in a gate."""
    for item in items:
        if isinstance(item, Step):
            yield item
        elif isinstance(item, Fork):
            yield from steps((*item.body, *item.shortcut))


def divided(items: list[Item]) -> list[Parts]:
    """Every way in which the layers may be a network's, the likely one first. Raises WeightsError if there is none."""
    forks = [item for item in items if isinstance(item, Fork)]
    if not forks:
        return _plain(items)
    counts = {len(convolutions(fork.body)) for fork in forks}
    if counts not in ({2}, {3}):
        raise WeightsError(f"its blocks have {sorted(counts)} convolutions; expected 2, or 3")
    last = len(items) - items[::-1].index(forks[-1])
    tail = items[last:]
    kinds = ("conv", "norm", "group norm", "layer norm")
    before = next((step.kind for step in steps(tail) if step.kind in kinds), "conv")
    return [Parts(items[: items.index(forks[0])], forks, tail, before != "conv")]


def _plain(items: list[Item]) -> list[Parts]:
    """Without shortcuts, by the number of convolutions in the stem and in a block."""
    places = [index for index, item in enumerate(items) if is_step(item, "conv")]
    end = next((index for index, item in enumerate(items) if is_step(item, *POOLED)), len(items))
    found = []
    for count in (2, 3):
        for first in (1, 3):
            starts = places[first::count]
            if not starts or (len(places) - first) % count:
                continue
            bodies = [items[start:stop] for start, stop in zip(starts, [*starts[1:], end], strict=True)]
            blocks = [Fork([item for item in body if not isinstance(item, Fork)], []) for body in bodies]
            # A pool right behind the stem's convolution: its norm and activation are the first block's.
            before = is_step(items[places[first - 1] + 1], "max")
            found.append(Parts(items[: starts[0]], blocks, items[end:], before, plain=True))
    if not found:
        raise WeightsError(
            f"the graph has {len(places)} convolutions and no residual block: no ResNet, nor a plain one"
        )
    return found


def fold_standardized(items: Sequence[Item]) -> None:
    """Where an exporter standardized some kernels itself, which it does with small ones, do so with the others."""
    convs = convolutions(steps(items))
    others = [step for step in convs if step.numbers["standardize"] is not None]
    for step in others if len(others) < len(convs) else []:
        there, array = step.tensors["weight"]
        kernel = standardized(array.astype(np.float64), step.numbers["standardize"])
        step.tensors["weight"], step.numbers["standardize"] = (there, kernel.astype(array.dtype)), None


def gates(parts: Parts) -> list[Gate]:
    """Those of all blocks."""
    return [item for block in parts.blocks for item in block.body if isinstance(item, Gate)]
