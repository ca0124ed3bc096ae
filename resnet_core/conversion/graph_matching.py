"""Whether a graph is the network of a spec: its layers against the layer tree, with every attribute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from resnet_core import tree
from resnet_core.analysis import trace
from resnet_core.architecture import layer_tree
from resnet_core.conversion.graph_layers import Step, as_linear
from resnet_core.conversion.graph_steps import Fork, Gate, Item
from resnet_core.errors import WeightsError
from resnet_core.padding import Pair, resolve
from resnet_core.specification import ResNetSpec


def matched(spec: ResNetSpec, items: Sequence[Item], size: Pair) -> Iterator[tuple[str, tuple[str, np.ndarray]]]:
    """(neutral name, (name there, array)) of every tensor. Raises WeightsError at the first difference."""
    network = layer_tree(spec)
    sizes = {layer.path: layer.input_shape for layer in trace(network, (*size, spec.in_channels))[0]}
    yield from _match(list(_own_items(network)), list(items), sizes)


class _OwnFork(NamedTuple):
    body: list[_OwnItem]
    shortcut: list[_OwnItem]


class _OwnGate(NamedTuple):
    path: str
    body: list[_OwnItem]


_OwnItem = tuple[str, tree.Leaf] | _OwnFork | _OwnGate


def _own_items(node: tree.Node, path: str = "") -> Iterator[_OwnItem]:
    if isinstance(node, tree.Residual):
        yield from _own_items(node.pre, path)
        shortcut = list(_own_items(node.shortcut, tree.join(path, "shortcut")))
        yield _OwnFork(list(_own_items(node.body, path)), shortcut)
        yield from _own_items(node.post, path)
    elif isinstance(node, tree.Gate):
        yield _OwnGate(path, list(_own_items(node.body, path)))
    elif isinstance(node, tree.Chain):
        for name, child in node.children:
            yield from _own_items(child, tree.join(path, name))
    elif isinstance(node, tree.Dropout | tree.DropPath):
        return
    elif isinstance(node, tree.Leaf):
        yield path, node
    else:
        raise WeightsError(f"{path}: a {type(node).__name__} is not read from a graph")


def _match(
    own: Sequence[_OwnItem], items: list[Item], sizes: Mapping[str, tree.Shape]
) -> Iterator[tuple[str, tuple[str, np.ndarray]]]:
    for item in own:
        if not items:
            raise WeightsError("the graph ends before the network does")
        there = items.pop(0)
        if isinstance(item, _OwnFork):
            if not isinstance(there, Fork):
                raise WeightsError(f"{_title(there)} stands where a block forks")
            yield from _match(item.body, list(there.body), sizes)
            yield from _match(item.shortcut, list(there.shortcut), sizes)
            continue
        if isinstance(item, _OwnGate):
            if not isinstance(there, Gate):
                raise WeightsError(f"{item.path}: a gate here, and {_title(there)}")
            yield from _match(item.body, list(there.body), sizes)
            continue
        path, leaf = item
        if not isinstance(there, Step):
            raise WeightsError(f"{path}: a {_name(leaf)} here, and {_title(there)}")
        if there.kind == "pad" and isinstance(leaf, tree.Conv) and items:
            there = _with_pad(there, items.pop(0))
        if there.kind == "conv" and isinstance(leaf, tree.Linear):
            there = as_linear(there)
        if (difference := _difference(leaf, there, sizes[path])) is not None:
            raise WeightsError(f"{path}: {difference} in its node {there.name or there.kind}")
        for name, tensor in leaf.tensors().items():
            if name not in there.tensors or there.tensors[name][1].shape != tensor.shape:
                shape = there.tensors[name][1].shape if name in there.tensors else None
                raise WeightsError(f"{path}.{name}: {tensor.shape} here, and {shape} in its node {there.name}")
            yield f"{path}.{name}", there.tensors[name]
    if items:
        raise WeightsError(f"the network ends before the graph does, which goes on with {_title(items[0])}")


def _title(item: Item) -> str:
    """What stands in the graph, with its node."""
    match item:
        case Step():
            return f"{item.kind} in its node {item.name}"
        case Gate():
            return f"a gate in its node {item.name}"
    return "a fork" + (f" before its node {item.body[0].name}" if item.body else "")


def _name(leaf: tree.Leaf) -> str:
    return leaf.function if isinstance(leaf, tree.Activation) else type(leaf).__name__


def _with_pad(pad: Step, step: Item) -> Step:
    """A convolution with the zeros before it, which are its own."""
    if not isinstance(step, Step) or step.kind != "conv" or step.numbers["pads"] == "same":
        raise WeightsError(f"its node {pad.name} pads something else than a convolution")
    pairs = zip(pad.numbers["pads"], step.numbers["pads"], strict=True)
    pads = tuple((before + more[0], behind + more[1]) for (before, behind), more in pairs)
    return Step(step.kind, step.name, {**step.numbers, "pads": pads}, step.tensors)


def _difference(leaf: tree.Leaf, there: Step, shape: tree.Shape) -> str | None:
    """In words, in what a layer and a step of the graph differ."""
    numbers = there.numbers
    match leaf:
        case tree.Conv() if there.kind == "conv":
            own = {"stride": leaf.stride, "dilation": leaf.dilation, "groups": leaf.groups}
            own |= {"standardize": leaf.standardize}
            return _bias(leaf, there) or _numbers(own, numbers) or _padding(leaf, leaf.dilation, numbers, shape)
        case tree.BatchNorm() | tree.FrozenNorm() if there.kind == "norm":
            return _numbers({"epsilon": leaf.epsilon}, numbers)
        case tree.GroupNorm() if there.kind == "group norm":
            own = {"epsilon": leaf.epsilon, "groups": leaf.groups}
            return _numbers(own, numbers) or _reshaped(numbers["shape"], shape)
        case tree.LayerNorm() if there.kind == "layer norm":
            return _numbers({"epsilon": leaf.epsilon}, numbers)
        case tree.ReLU() if there.kind == "relu":
            return None
        case tree.Activation() if there.kind == leaf.function:
            return _numbers({"slope": tree.NEGATIVE_SLOPE} if leaf.function == "leaky_relu" else {}, numbers)
        case tree.MaxPool() if there.kind == "max":
            own = {"kernel": leaf.kernel, "stride": leaf.stride}
            return _numbers(own, numbers) or _padding(leaf, (1, 1), numbers, shape)
        case tree.Subsample() if there.kind == "max":
            return _numbers({"kernel": (1, 1), "stride": leaf.stride}, numbers)
        case tree.Pad() if there.kind == "pad":
            return _numbers({"pads": leaf.padding}, numbers)
        case tree.PadChannels() if there.kind == "channels":
            return _numbers({"before": leaf.before, "after": leaf.after}, numbers)
        case tree.GlobalAveragePool() if there.kind in ("mean", "mean over windows"):
            return _whole(numbers, shape)
        case tree.GlobalMaxPool() if there.kind in ("maximum", "max"):
            return _whole(numbers, shape)
        case tree.GlobalConcatPool() if there.kind == "both":
            return _whole(numbers, shape)
        case tree.AveragePool() if there.kind == "mean over windows":
            own = {"kernel": leaf.kernel, "stride": leaf.stride, "inside": True}
            return _numbers(own, numbers) or _reach(leaf, numbers, shape)
        case tree.BlurPool() if there.kind == "blur":
            return _numbers({"stride": leaf.stride}, numbers) or _undilated(leaf)
        case tree.ChannelConv() if there.kind == "channel conv":
            own = {"pads": (leaf.kernel // 2, leaf.kernel // 2)}
            return _numbers(own, numbers) or ("no bias here, and one" if "bias" in there.tensors else None)
        case tree.Linear() if there.kind == "linear":
            return _bias(leaf, there)
    return f"a {_name(leaf)} here, and {there.kind}"


def _whole(numbers: Mapping[str, Any], shape: tree.Shape) -> str | None:
    """Whether a pool has the whole map in one window, where it has windows."""
    window = numbers.get("kernel", shape[:2]), numbers.get("pads", ((0, 0), (0, 0)))
    return None if window == (shape[:2], ((0, 0), (0, 0))) else f"the whole map of {shape[:2]} here, and {window}"


def _reshaped(there: Sequence[int] | None, shape: tree.Shape) -> str | None:
    """Whether [batch, channels, height, width], if they are constants, are those of the map."""
    own = [shape[2], *shape[:2]]
    return None if there is None or list(there[1:]) == own else f"a map of {own} here, and {list(there[1:])}"


def _undilated(leaf: tree.BlurPool) -> str | None:
    return None if leaf.dilation == (1, 1) else f"dilation is {leaf.dilation} here, and none"


def _bias(leaf: tree.Conv | tree.Linear, there: Step) -> str | None:
    has = "bias" in there.tensors
    return None if has == leaf.bias else f"a bias is {leaf.bias} here, and {has}"


def _numbers(own: Mapping[str, Any], numbers: Mapping[str, Any]) -> str | None:
    wrong = [key for key in own if own[key] != numbers[key]]
    return f"{wrong[0]} is {own[wrong[0]]} here, and {numbers[wrong[0]]}" if wrong else None


def _padding(
    leaf: tree.Conv | tree.MaxPool, dilation: Pair, numbers: Mapping[str, Any], shape: tree.Shape
) -> str | None:
    """Of the map's size at which the graph is read, also where the graph rounds up and so pads the end."""
    size = (shape[0], shape[1])
    own = resolve(leaf.padding, leaf.kernel, leaf.stride, dilation, size)
    if numbers["pads"] == "same":
        return None if leaf.padding == "same" else f"padding is {own} here, and the image's size decides"
    there = numbers["pads"]
    if numbers.get("ceil"):
        there = tuple(map(_rounded_up, there, leaf.kernel, leaf.stride, size))
    return None if own == there else f"padding is {own} here, and {there}"


def _reach(leaf: tree.AveragePool, numbers: Mapping[str, Any], shape: tree.Shape) -> str | None:
    """Whether a pool has as many windows as it has here, the first where the image begins."""
    if numbers["pads"] == "same" or leaf.dilation != (1, 1):
        return None if leaf.partial and numbers["pads"] == "same" else "a pool is dilated here, and not"
    pads = numbers["pads"]
    if numbers["ceil"]:
        pads = tuple(map(_rounded_up, pads, leaf.kernel, leaf.stride, shape))
    sides = zip(shape, pads, leaf.kernel, leaf.stride, strict=False)
    found = tuple((size + sum(pad) - kernel) // stride + 1 for size, pad, kernel, stride in sides)
    own = leaf.output_shape(shape)[:2]
    return None if found == own and not any(before for before, _ in pads) else f"{own} windows here, and {found}"


def _rounded_up(pad: Pair, kernel: int, stride: int, size: int) -> Pair:
    outputs = -(-(size + sum(pad) - kernel) // stride) + 1
    return pad[0], (outputs - 1) * stride + kernel - size - pad[0]
