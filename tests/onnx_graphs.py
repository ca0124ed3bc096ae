"""Changes in an ONNX graph, as a slip makes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import helper, numpy_helper


def node_of(proto: Any, name: str) -> Any:
    return next(each for each in proto.graph.node if each.name == name)


def set_attribute(proto: Any, name: str, key: str, value: Any) -> None:
    """Give a node another attribute, in place."""
    changed = node_of(proto, name)
    kept = [attribute for attribute in changed.attribute if attribute.name != key]
    del changed.attribute[:]
    changed.attribute.extend([*kept, helper.make_attribute(key, value)])


def set_operator(proto: Any, name: str, operator: str) -> None:
    """Make a node compute something else, without attributes, in place."""
    node = node_of(proto, name)
    node.op_type = operator
    del node.attribute[:]


def set_array(proto: Any, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Change the values of an initializer, in place."""
    tensor = next(tensor for tensor in proto.graph.initializer if tensor.name == name)
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)), name))


def with_early_gate(proto: Any) -> None:
    """The first block's gate in front of its last norm, and not behind it."""
    norm, place = node_of(proto, "stage1.block1.norm3"), "stage1.block1.se"
    pool = node_of(proto, f"{place}.pool")
    product = next(node for node in proto.graph.node if node.op_type == "Mul" and norm.output[0] in node.input)
    addition = next(node for node in proto.graph.node if product.output[0] in node.input)
    before, gated = norm.input[0], product.output[0]
    addition.input[list(addition.input).index(gated)] = norm.output[0]
    pool.input[0] = product.input[0] = before
    norm.input[0] = gated


def without_relu(proto: Any) -> None:
    node_of(proto, "stage2.block1.relu1").op_type = "Identity"


def added_to_itself(proto: Any) -> None:
    """A block to which its body is added, and not its input."""
    add = next(each for each in proto.graph.node if each.op_type == "Add")
    add.input[1] = add.input[0]
