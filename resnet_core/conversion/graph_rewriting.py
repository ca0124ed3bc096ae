"""Several nodes of a graph as the one that they are together.

A pattern is what a value is made of: `("Mul", "x", ("Sigmoid", "x"))`. In it, a text stands for any value, the same one
wherever it stands again, a number for a constant that is this number, a list for one of integers, and attributes that
come last have to be those of the node. Additions and products may have their operands either way round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isclose
from typing import Any

import numpy as np

from resnet_core.conversion.graph_constants import Constants, GraphNode, listed
from resnet_core.errors import WeightsError

_COMMUTATIVE = ("Add", "Mul")
#: What a number may differ by that came through float32.
_ROUNDING = 2.0**-22


@dataclass(frozen=True)
class Found:
    """What a pattern's texts stand for, and {operator: attributes} of its nodes, of the outermost where it has several.

    `array` is that of a constant.
    """

    constants: Constants
    values: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def array(self, text: str) -> np.ndarray | None:
        return self.constants.arrays.get(self.values[text])

    def integers(self, text: str) -> list[int] | None:
        return None if (array := self.array(text)) is None else listed(array)

    def number(self, text: str) -> float | None:
        array = self.array(text)
        return None if array is None or array.size != 1 else meant(array.reshape(-1)[0])


#: The attributes of the node that a pattern's nodes are together, or None where its constants are others.
Numbers = Callable[[Found], "dict[str, Any] | None"]


@dataclass(frozen=True)
class Pattern:
    """`nodes` compute what one node `operator` of `inputs` does, with the attributes `numbers`."""

    operator: str
    inputs: tuple[str, ...]
    nodes: tuple[Any, ...]
    numbers: Numbers = lambda found: {}


def meant(number: Any) -> float:
    """The number that a float32 stands for: 0.01 is 0.009999999776482582 there."""
    return float(str(np.float32(number)))


def simplified(
    nodes: Sequence[GraphNode], constants: Constants, outputs: Sequence[str], patterns: Sequence[Pattern]
) -> list[GraphNode]:
    """The nodes, of those that are one layer together only one, and none that no output depends on."""
    graph = _Graph(nodes, constants)
    for node in nodes:
        graph.replace_at(str(node[3][0]), patterns)
    return graph.needed(outputs)


class _Graph:
    """Nodes by their first output, as which they are replaced."""

    def __init__(self, nodes: Sequence[GraphNode], constants: Constants) -> None:
        self._nodes: dict[str, GraphNode] = {}
        for node in nodes:
            if (value := str(node[3][0])) in self._nodes:
                raise WeightsError(f"two nodes of the graph compute {value}; expected one")
            self._nodes[value] = node
        self._constants = constants

    def replace_at(self, value: str, patterns: Sequence[Pattern]) -> None:
        """Make the node that a value comes from the one that it is together with those before it."""
        for pattern in patterns:
            if pattern.nodes[0] != (node := self._nodes[value])[0]:
                continue
            for found in self._matches(pattern.nodes, value, Found(self._constants)):
                if (numbers := pattern.numbers(found)) is not None:
                    inputs = [found.values[text] for text in pattern.inputs]
                    self._nodes[value] = [pattern.operator, node[1], inputs, [value], numbers]
                    break

    def needed(self, outputs: Sequence[str]) -> list[GraphNode]:
        """Those that the outputs depend on, in the graph's order."""
        wanted, waiting = set(), list(outputs)
        while waiting:
            if (value := waiting.pop()) in self._nodes and value not in wanted:
                wanted.add(value)
                waiting += self._nodes[value][2]
        return [node for value, node in self._nodes.items() if value in wanted]

    def _matches(self, expected: Any, value: str, found: Found) -> Iterator[Found]:
        """Every way in which a value is what is expected."""
        match expected:
            case str():
                if found.values.get(expected, value) == value:
                    yield replace(found, values={**found.values, expected: value})
            case float():
                array = self._constants.arrays.get(value)
                if array is not None and array.size == 1 and isclose(array.item(), expected, rel_tol=_ROUNDING):
                    yield found
            case list():
                if (array := self._constants.arrays.get(value)) is not None and listed(array) == expected:
                    yield found
            case _:
                yield from self._made(expected, self._nodes.get(value), found)

    def _made(self, expected: tuple[Any, ...], node: GraphNode | None, found: Found) -> Iterator[Found]:
        """Every way in which a node is the one that is expected, and its operands those."""
        if node is None or node[0] != expected[0]:
            return
        operator, *operands = expected
        wanted = operands.pop() if isinstance(operands[-1], dict) else {}
        inputs, given = [name for name in node[2] if name], node[4]
        if len(inputs) != len(operands) or any(given.get(key, value) != value for key, value in wanted.items()):
            return
        # The usual case, before anything is copied: other operands.
        made_by = [self._nodes[name][0] for name in inputs if name in self._nodes]
        fixed = sum(name in self._constants.arrays for name in inputs)
        if any(isinstance(each, tuple) and each[0] not in made_by for each in operands):
            return
        if fixed < sum(isinstance(each, float | list) for each in operands):
            return
        key = operator if operator not in found.attributes else f"{operator} 2"
        found = replace(found, attributes={**found.attributes, key: given})
        for order in (operands, operands[::-1]) if operator in _COMMUTATIVE else (operands,):
            ways = [found]
            for operand, name in zip(order, inputs, strict=True):
                ways = [way for each in ways for way in self._matches(operand, name, each)]
            yield from ways
