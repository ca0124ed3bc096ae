"""An ONNX graph while it is written: nodes in order, constants once each, and arithmetic on its values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import NodeProto, helper

#: The end of an axis, where a slice has none.
_END = 2**62


class Graph:
    """Nodes and constants. `dtype` is that of all values; `place` is the path of the leaf that is being written."""

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype
        self.place = ""
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self._count: Counter[str] = Counter()

    def add(self, operator: str, inputs: Iterable[Value | str], rank: int = 4, **attributes: Any) -> Value:
        """The output of one more node. It and the node have the leaf's path, from the second on with a number."""
        self._count[self.place] += 1
        count = self._count[self.place]
        name = self.place if count == 1 else f"{self.place}:{count}"
        names = [each.name if isinstance(each, Value) else each for each in inputs]
        self.nodes.append(helper.make_node(operator, names, [name], name=name, **attributes))
        return Value(self, name, rank)

    def number(self, value: float) -> str:
        """A constant of the graph's own dtype."""
        return self._constant(f"number {value!r}", np.array(value, self.dtype))

    def integers(self, *values: int) -> str:
        """A vector of integers: axes, a shape, where a slice begins."""
        return self._constant(f"integers {list(values)}", np.array(values, np.int64))

    def _constant(self, name: str, array: np.ndarray) -> str:
        self.constants[name] = array
        return name


@dataclass(frozen=True)
class Value:
    """The output of a node, a feature map (rank 4) or a vector (rank 2) of each image."""

    graph: Graph
    name: str
    rank: int = 4

    def node(self, operator: str, *others: Value | str, rank: int | None = None, **attributes: Any) -> Value:
        """The output of a node that takes this value first."""
        return self.graph.add(operator, (self, *others), self.rank if rank is None else rank, **attributes)

    def __add__(self, other: Value | float) -> Value:
        return self.node("Add", self._operand(other))

    def __sub__(self, other: Value | float) -> Value:
        return self.node("Sub", self._operand(other))

    def __mul__(self, other: Value | float) -> Value:
        return self.node("Mul", self._operand(other))

    __rmul__ = __mul__

    def __truediv__(self, other: Value | float) -> Value:
        return self.node("Div", self._operand(other))

    def __getitem__(self, index: tuple[slice, ...]) -> Value:
        """Slices with steps above 0, the first axes'."""
        cut = [(axis, each) for axis, each in enumerate(index) if each != slice(None)]
        if not cut:
            return self
        starts = self.graph.integers(*(each.start or 0 for _, each in cut))
        ends = self.graph.integers(*(_END if each.stop is None else each.stop for _, each in cut))
        axes = self.graph.integers(*(axis for axis, _ in cut))
        steps = self.graph.integers(*(each.step or 1 for _, each in cut))
        return self.node("Slice", starts, ends, axes, steps)

    def _operand(self, other: Value | float) -> Value | str:
        return other if isinstance(other, Value) else self.graph.number(other)


def concatenate(values: list[Value], axis: int) -> Value:
    """One behind the other along an axis."""
    return values[0].node("Concat", *values[1:], axis=axis)
