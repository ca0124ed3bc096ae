"""A graph, such as an ONNX file's, as a sequence of layers, in which a residual block is a fork of two sequences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from resnet_core.conversion.graph_constants import GraphNode, fold_constants
from resnet_core.conversion.graph_layers import POOLED, Step, as_linear, read_layer, unknown
from resnet_core.conversion.graph_patterns import PATTERNS
from resnet_core.conversion.graph_rewriting import simplified
from resnet_core.errors import WeightsError
from resnet_core.padding import Pair

#: What changes no value: shapes, the order of the axes at the door, and what only training has.
_PASSING = ("Identity", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Dropout", "Transpose", "Cast")
_TO_CHANNELS_FIRST = [0, 3, 1, 2]


@dataclass(eq=False)
class Gate:
    """A factor for each channel, which the values at hand are multiplied by: `body` makes it of them."""

    name: str
    body: list[Step]


@dataclass(eq=False)
class Fork:
    """What a block adds: `body` has more convolutions than `shortcut`."""

    body: list[Step | Gate]
    shortcut: list[Step | Gate]


Item = Step | Gate | Fork


class Reader:
    """Follows values from the input to the output."""

    def __init__(self, graph: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        if len(graph["inputs"]) != 1:
            raise WeightsError(f"the graph has {len(graph['inputs'])} inputs; expected one, the images")
        (self._start, self._shape), *_ = graph["inputs"]
        nodes, constants = fold_constants(graph["nodes"], arrays)
        self._constants = constants
        self._consumers: dict[str, list[GraphNode]] = {}
        self._seen: set[str] = set()
        for node in simplified(nodes, constants, graph["outputs"], PATTERNS):
            for name in dict.fromkeys(node[2]):
                self._consumers.setdefault(name, []).append(node)

    def items(self) -> tuple[list[Item], Pair | None]:
        """(the whole sequence, height and width of the images or None where they are open)."""
        found: list[Item] = []
        if (end := self._follow(self._start, found)) is not None:
            raise unknown(end, "an addition or product without a fork before it")
        if not found:
            raise WeightsError(f"nothing in the graph is computed of its input, {self._start}")
        sides = self._shape[1:3] if self._shape[-1:] in ([1], [3]) else self._shape[2:4]
        return found, tuple(sides) if len(sides) == 2 and all(sides) else None

    def _follow(self, value: str, found: list[Item]) -> GraphNode | None:
        """Append the layers from a value on; returns the addition or product at which they end, None at the output."""
        pooled = False
        while True:
            if value in self._seen:
                raise WeightsError(f"the graph goes round in a circle at {value}")
            self._seen.add(value)
            pooled = pooled or (bool(found) and is_step(found[-1], *POOLED))
            nodes = [node for node in self._consumers.get(value, []) if node[0] != "Shape"]
            if not nodes:
                return None
            if len(nodes) == 1 and self._joins(nodes[0]):
                return nodes[0]
            if len(nodes) == 1:
                value = self._append(found, nodes[0], pooled)
            elif len(nodes) == 2:
                item, value = self._fork(nodes)
                found.append(item)
            else:
                raise unknown(nodes[2], f"the third that reads {value}{_apart(nodes)}")

    def _joins(self, node: GraphNode) -> bool:
        return node[0] in ("Add", "Mul") and not any(name in self._constants.arrays for name in node[2])

    def _fork(self, nodes: list[GraphNode]) -> tuple[Fork | Gate, str]:
        """(what two that read the same value are together, its output)."""
        branches: list[list[Step | Gate]] = []
        ends = []
        for node in nodes:
            branch: list[Item] = []
            end = node if self._joins(node) else self._follow(self._append(branch, node, pooled=False), branch)
            own = [item for item in branch if not isinstance(item, Fork)]
            if end is None or len(own) < len(branch):
                raise unknown(node, "a branch that does not end in the addition of a block or the product of a gate")
            branches.append(own)
            ends.append(end)
        if ends[0] is not ends[1]:
            raise unknown(ends[1], f"of something else than what {ends[0][1] or ends[0][3][0]} is of")
        output = str(ends[0][3][0])
        if ends[0][0] == "Add":
            shortcut, body = sorted(branches, key=lambda items: sum(is_step(item, "conv") for item in items))
            return Fork(body, shortcut), output
        factors = [item for branch in branches for item in branch if isinstance(item, Step)]
        if all(branches) or len(factors) < sum(map(len, branches)):
            raise unknown(ends[0], "a product of two that are both computed")
        return Gate(ends[0][1], factors), output

    def _append(self, found: list[Item], node: GraphNode, pooled: bool) -> str:
        """Add the layer of a node, or of what it completes, to those before it; returns its output."""
        operator, _, inputs, outputs, given = node
        if operator == "Transpose" and given.get("perm") != _TO_CHANNELS_FIRST:
            raise unknown(node, f"another order of axes than {_TO_CHANNELS_FIRST}")
        last = found[-1] if found and isinstance(found[-1], Step) else None
        if operator == "Add" and last is not None and last.kind in ("linear", "conv") and "bias" not in last.tensors:
            bias = next(each for each in inputs if each in self._constants.arrays)
            if last.kind == "conv" and self._constants.arrays[bias].shape[-2:] != (1, 1):
                raise unknown(node, "an addition of something else than one number for each channel")
            last.tensors["bias"] = (self._constants.names[bias], self._constants.arrays[bias].reshape(-1))
        elif operator not in _PASSING and not (operator == "Expand" and pooled):
            step = read_layer(node, self._constants)
            found.append(as_linear(step) if step.kind == "conv" and pooled else step)
        return str(outputs[0])


def is_step(item: Item, *kinds: str) -> bool:
    """Whether this is a single layer of one of the kinds."""
    return isinstance(item, Step) and item.kind in kinds


def _apart(nodes: Sequence[GraphNode]) -> str:
    """What several nodes are that take their own parts of a value."""
    parts = {"Slice", "Concat", "Pad"} & {node[0] for node in nodes}
    return ", as a dilated pool's parts do (output_stride), which are not read" if parts else ""
