"""What a network is, counted without any framework: names, shapes, parameters, state, MACs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod

from resnet_core.architecture import layer_tree, output_name, tap_nodes, taps
from resnet_core.errors import InputError
from resnet_core.specification import ResNetSpec
from resnet_core.tree import STATISTICS, Chain, Leaf, Node, Residual, Shape, leaves


@dataclass(frozen=True, slots=True)
class Layer:
    """One leaf at one input size; shapes are (height, width, channels) or (channels,)."""

    path: str
    leaf: Leaf
    input_shape: Shape
    output_shape: Shape
    parameters: int
    state: int
    macs: int


@dataclass(frozen=True, slots=True)
class Totals:
    """`parameters` are trained; `state` is parameters and running statistics; `macs` are per image."""

    parameters: int
    state: int
    macs: int
    output_shape: Shape


def state(spec: ResNetSpec) -> dict[str, Shape]:
    """{"stem.conv.weight": (64, 3, 7, 7), …}: every neutral tensor, running statistics included, in file order."""
    return dict(_tensors(spec))


def tensor_shapes(tree: Chain) -> dict[str, Shape]:
    """{name: shape} of every tensor of a layer tree, in file order."""
    return {f"{path}.{suffix}": shape for path, leaf in leaves(tree) for suffix, shape in leaf.tensors().items()}


def parameters(spec: ResNetSpec) -> dict[str, Shape]:
    """The trained ones of `state`."""
    return {name: shape for name, shape in _tensors(spec) if not is_statistic(name)}


def is_statistic(name: str) -> bool:
    """Whether a neutral name is a running statistic (state that is not trained)."""
    return name.endswith(STATISTICS)


@lru_cache(maxsize=256)
def _tensors(spec: ResNetSpec) -> tuple[tuple[str, Shape], ...]:
    return tuple(
        (f"{path}.{suffix}", shape)
        for path, leaf in leaves(layer_tree(spec))
        for suffix, shape in leaf.tensors().items()
    )


def layers(spec: ResNetSpec, size: tuple[int, int] | None = None) -> list[Layer]:
    """Every leaf with its shapes for images of `size` = (height, width), by default the spec's.

    Raises InputError, with the layer's path, where the image is too small.
    """
    height, width = spec.input_size if size is None else size
    if min(height, width) < 1:
        raise InputError(f"input: received {height}x{width}; expected at least 1x1")
    found: list[Layer] = []
    _walk(layer_tree(spec), "", (height, width, spec.in_channels), found)
    return found


def totals(spec: ResNetSpec, size: tuple[int, int] | None = None) -> Totals:
    """Counts over the whole network."""
    found = layers(spec, size)
    return Totals(
        parameters=sum(layer.parameters for layer in found),
        state=sum(layer.state for layer in found),
        macs=sum(layer.macs for layer in found),
        output_shape=tap_shapes(spec, size)[output_name(spec)],
    )


def tap_shapes(spec: ResNetSpec, size: tuple[int, int] | None = None) -> dict[str, Shape]:
    """Tap to the shape of one image's value there."""
    height, width = spec.input_size if size is None else size
    shape: Shape = (height, width, spec.in_channels)
    after: dict[str, Shape] = {}
    for name, node in layer_tree(spec).children:
        after[name] = shape = _walk(node, name, shape, [])
    return {tap: after[name] for tap, name in tap_nodes(layer_tree(spec), taps(spec)).items()}


def _walk(node: Node, path: str, shape: Shape, found: list[Layer]) -> Shape:
    if isinstance(node, Leaf):
        return _leaf(node, path, shape, found)
    prefix = f"{path}." if path else ""
    if isinstance(node, Residual):
        activated = _chain(node.pre, prefix, shape, found)
        main = _chain(node.body, prefix, activated, found)
        short = _chain(node.shortcut, f"{prefix}shortcut.", activated, found)
        if main != short:  # a tree that was built by hand; architecture.py makes none
            raise InputError(f"{path}: the body gives {main} and the shortcut {short}; they cannot be added")
        return _chain(node.post, prefix, main, found)
    return _chain(node, prefix, shape, found)


def _chain(chain: Chain, prefix: str, shape: Shape, found: list[Layer]) -> Shape:
    for name, child in chain.children:
        shape = _walk(child, prefix + name, shape, found)
    return shape


def _leaf(leaf: Leaf, path: str, shape: Shape, found: list[Layer]) -> Shape:
    try:
        output = leaf.output_shape(shape)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    sizes = {name: prod(tensor) for name, tensor in leaf.tensors().items()}
    total = sum(sizes.values())
    trained = total - sum(sizes.get(name, 0) for name in STATISTICS)
    found.append(Layer(path, leaf, shape, output, trained, total, leaf.macs(shape)))
    return output
