"""The nodes of a graph as layers: what each is, with its numbers and its tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from resnet_core.conversion.graph_constants import Constants, GraphNode, listed
from resnet_core.conversion.graph_rewriting import meant
from resnet_core.errors import WeightsError
from resnet_core.padding import Pair

#: Operators without numbers: what their steps are.
_PLAIN = {
    "GlobalAveragePool": "mean", "GlobalMaxPool": "maximum", "HardSwish": "hardswish", "Relu": "relu",
    "Sigmoid": "sigmoid", "Silu": "silu", "Softmax": "softmax",
}  # fmt: skip
_NO_PADS = ((0, 0), (0, 0))
#: Steps that leave one value of each channel.
POOLED = ("mean", "maximum", "both")


@dataclass(eq=False)
class Step:
    """One layer of the graph: its kind, numbers, and {neutral last segment: (name, array)} of its tensors."""

    kind: str
    name: str
    numbers: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, tuple[str, np.ndarray]] = field(default_factory=dict)


def read_layer(node: GraphNode, constants: Constants) -> Step:
    """The layer of a node. Raises WeightsError for what is none."""
    operator, name, inputs, _, given = node
    if operator in _PLAIN:
        return Step(_PLAIN[operator], name)
    epsilon = {"epsilon": meant(given.get("epsilon", 1e-5))}
    match operator:
        case "Conv":
            return _conv(node, constants)
        case "BatchNormalization":
            if given.get("training_mode", 0):
                raise unknown(node, "in training mode, normalized by the batch")
            names = ("weight", "bias", "running_mean", "running_var")
            return Step("norm", name, epsilon, _tensors(node, constants, inputs[1:], names))
        case "GroupNormalization" | "LayerNorm":
            tensors = _tensors(node, constants, inputs[1:], ("weight", "bias"))
            flat = {role: (there, array.reshape(-1)) for role, (there, array) in tensors.items()}
            if operator == "LayerNorm":
                return Step("layer norm", name, epsilon, flat)
            return Step(
                "group norm", name, {**epsilon, "groups": given["num_groups"], "shape": given.get("shape")}, flat
            )
        case "Gelu":
            return Step("gelu_tanh" if given.get("approximate", "none") == "tanh" else "gelu", name)
        case "Clip" | "LeakyRelu" | "PRelu":
            return _piecewise(node, constants)
        case "MaxPool":
            return Step("max", name, {**_window(node), "ceil": bool(given.get("ceil_mode", 0))})
        case "GlobalConcatPool":
            return Step("both", name, _window(node) if given else {})
        case "Pad":
            return _zeros(node, constants)
        case "AveragePool":
            counting = {"ceil": bool(given.get("ceil_mode")), "inside": not given.get("count_include_pad", 0)}
            window = _window(node)
            if window["pads"] == _NO_PADS and not counting["ceil"]:
                counting["inside"] = True  # no window has anything else
            return Step("mean over windows", name, {**window, **counting})
        case "Blur":
            return Step("blur", name, {"stride": _pair(given["strides"])})
        case "Slice":
            return Step("max", name, {"kernel": (1, 1), "stride": _steps(node, constants), **_pads({}), "ceil": False})
        case "Gemm" | "MatMul":
            return _linear(node, constants)
    raise unknown(node, "no layer that is read from a graph")


def _conv(node: GraphNode, constants: Constants) -> Step:
    _, name, inputs, _, given = node
    tensors = _tensors(node, constants, inputs[1:], ("weight", "bias"))
    if given.get("shape") is not None:  # a kernel is standardized in another shape
        there, array = tensors["weight"]
        tensors["weight"] = (there, array.reshape(given["shape"]))
    if tensors["weight"][1].ndim == 3:
        ones = (given.get("strides", [1]), given.get("dilations", [1]), [given.get("group", 1)])
        if any(each != [1] for each in ones):
            raise unknown(node, "another convolution of channels than one after the other")
        return Step("channel conv", name, {"pads": tuple(given.get("pads", (0, 0)))}, tensors)
    numbers = {"stride": _pair(given.get("strides")), "dilation": _pair(given.get("dilations"))}
    numbers |= {"groups": given.get("group", 1), "standardize": given.get("standardize")}
    return Step("conv", name, {**numbers, **_pads(given)}, tensors)


def _piecewise(node: GraphNode, constants: Constants) -> Step:
    """ReLU6, or a leaky ReLU."""
    operator, name, inputs, _, given = node
    if operator == "LeakyRelu":
        return Step("leaky_relu", name, {"slope": meant(given.get("alpha", 0.01))})
    numbers = [constants.arrays[each].item() if each in constants.arrays else None for each in inputs[1:]]
    if operator == "PRelu" and numbers[0] is not None:
        return Step("leaky_relu", name, {"slope": meant(numbers[0])})
    bounds = numbers or [given.get("min"), given.get("max")]  # up to version 10 they were attributes
    if operator == "PRelu" or bounds != [0, 6]:
        raise unknown(node, f"another function than ReLU6 ({bounds})")
    return Step("relu6", name)


def _linear(node: GraphNode, constants: Constants) -> Step:
    operator, name, inputs, _, given = node
    tensors = _tensors(node, constants, inputs[1:], ("weight", "bias"))
    if operator == "MatMul" or not given.get("transB", 0):
        there, array = tensors["weight"]
        tensors["weight"] = (there, np.ascontiguousarray(array.T))
    if given.get("alpha", 1.0) != 1.0 or given.get("beta", 1.0) != 1.0 or given.get("transA", 0):
        raise unknown(node, "a scaled or transposed product")
    return Step("linear", name, {}, tensors)


def _tensors(
    node: GraphNode, constants: Constants, inputs: Sequence[str], roles: Sequence[str]
) -> dict[str, tuple[str, np.ndarray]]:
    given = [(role, name) for role, name in zip(roles, inputs, strict=False) if name]
    if any(name not in constants.arrays for _, name in given):
        raise unknown(node, "a layer whose weights the graph computes")
    return {role: (constants.names[name], constants.arrays[name]) for role, name in given}


def _steps(node: GraphNode, constants: Constants) -> Pair:
    """Of a slice that takes every k-th pixel."""
    starts, ends, axes, steps = (listed(constants.arrays.get(name)) for name in node[2][1:5])
    if any(starts) or axes not in ([2, 3], [-2, -1]) or min(ends, default=0) < 2**31 - 1 or len(steps) != 2:
        raise unknown(node, "another slice than every k-th pixel")
    return steps[0], steps[1]


def _zeros(node: GraphNode, constants: Constants) -> Step:
    """Zeros around the image, or around its channels."""
    _, _, inputs, _, given = node
    operands = [constants.arrays.get(name) for name in inputs[1:3]]  # up to version 10 they were attributes
    pads = given.get("pads") or listed(operands[0] if operands else None)
    value = given.get("value", 0.0) if len(operands) < 2 or operands[1] is None else operands[1]
    if len(pads) != 8 or np.any(np.asarray(value)) or given.get("mode", "constant") != "constant":
        raise unknown(node, "another padding than zeros")
    if any(pads[1::4]) and not any((*pads[2:4], *pads[6:8])):
        return Step("channels", node[1], {"before": pads[1], "after": pads[5]})
    if any(pads[axis] for axis in (0, 1, 4, 5)):
        raise unknown(node, "a padding of image and channels at once")
    return Step("pad", node[1], {"pads": ((pads[2], pads[6]), (pads[3], pads[7]))})


def as_linear(conv: Step) -> Step:
    """A convolution of single pixels, which is what some classifiers are."""
    there, array = conv.tensors["weight"]
    plain = {"stride": (1, 1), "groups": 1, "pads": _NO_PADS, "standardize": None}
    if array.shape[2:] != (1, 1) or any(conv.numbers[key] != number for key, number in plain.items()):
        raise WeightsError(f"its node {conv.name} is a convolution; expected a linear layer, or one of 1x1 that is one")
    return Step("linear", conv.name, {}, {**conv.tensors, "weight": (there, array[:, :, 0, 0])})


def unknown(node: GraphNode, what: str) -> WeightsError:
    """The error for a node that is something else."""
    return WeightsError(f"its node {node[1] or node[3][0]} ({node[0]}) is {what}: no ResNet that this project reads")


def _pair(values: Sequence[int] | None) -> Pair:
    height, width = values or (1, 1)
    return int(height), int(width)


def _window(node: GraphNode) -> dict[str, Any]:
    """The numbers of a pool."""
    given = node[4]
    if any(distance != 1 for distance in given.get("dilations", [])):
        raise unknown(node, f"a dilated pool (dilations = {list(given['dilations'])})")
    return {"kernel": _pair(given["kernel_shape"]), "stride": _pair(given.get("strides")), **_pads(given)}


def _pads(given: Mapping[str, Any]) -> dict[str, Any]:
    """Explicit pads, or "same"."""
    if given.get("auto_pad", "NOTSET") == "SAME_UPPER":
        return {"pads": "same"}
    if given.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise WeightsError(f"the graph pads by {given['auto_pad']}; expected NOTSET or SAME_UPPER")
    top, left, bottom, right = given.get("pads") or (0, 0, 0, 0)
    return {"pads": ((top, bottom), (left, right))}
