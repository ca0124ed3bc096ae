"""Names, shapes, parameters, state and MACs of a network, computed without any framework."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from math import prod

from resnet_core.architecture import layer_tree, taps
from resnet_core.errors import InputError
from resnet_core.spec_files import Source
from resnet_core.spec_files import spec as read_spec
from resnet_core.tap_paths import tap_names, tap_nodes
from resnet_core.tree import Chain, Combinator, Conv, Leaf, Node, Shape, Tensor, join, leaves

#: A network is given as a spec, as what names one, or as a tree.
Network = Source | Node


@dataclass(frozen=True, slots=True)
class Layer:
    """One leaf at a given input size; shapes are (height, width, channels) or (channels,)."""

    path: str
    leaf: Leaf
    input_shape: Shape
    output_shape: Shape
    parameters: int
    state: int
    macs: int


@dataclass(frozen=True, slots=True)
class Totals:
    """`parameters` are trained; `state` is parameters plus running statistics; `macs` are per image."""

    parameters: int
    state: int
    macs: int
    output_shape: Shape


def tensors(network: Network) -> dict[str, Tensor]:
    """{"stem.conv.weight": Tensor((64, 3, 7, 7), "kernel"), …}: every neutral tensor, in file order."""
    return dict(_tensors(network if isinstance(network, Leaf | Combinator) else layer_tree(network)))


def state(network: Network) -> dict[str, Shape]:
    """{"stem.conv.weight": (64, 3, 7, 7), …}: every neutral tensor, running statistics included, in file order."""
    return {name: tensor.shape for name, tensor in tensors(network).items()}


def first_convolution(spec: Source) -> str:
    """The path of the convolution that reads the images."""
    return next(path for path, leaf in leaves(layer_tree(spec)) if isinstance(leaf, Conv))


def parameters(network: Network) -> dict[str, Shape]:
    """The tensors of `state` that are trained, without running statistics."""
    return {name: tensor.shape for name, tensor in tensors(network).items() if tensor.role != "statistic"}


@lru_cache(maxsize=256)
def _tensors(tree: Node) -> tuple[tuple[str, Tensor], ...]:
    return tuple((join(path, name), tensor) for path, leaf in leaves(tree) for name, tensor in leaf.tensors().items())


def layers(spec: Source, size: tuple[int, int] | None = None) -> list[Layer]:
    """Every leaf with its shapes for images of `size` = (height, width), by default the spec's `input_size`.

    Raises InputError, with the layer's path, if the image is too small.
    """
    spec = read_spec(spec)
    return trace(layer_tree(spec), image_shape(spec, size))[0]


def totals(spec: Source, size: tuple[int, int] | None = None) -> Totals:
    """Counts over the whole network. Raises as `layers` does."""
    spec = read_spec(spec)
    tree, shape = layer_tree(spec), image_shape(spec, size)
    try:
        return _count(tree, shape, {})
    except InputError:
        trace(tree, shape)  # raises with the path
        raise


def tap_shapes(spec: Source, size: tuple[int, int] | None = None) -> dict[str, Shape]:
    """{tap: shape of its output for one image}. Raises as `layers` does."""
    spec = read_spec(spec)
    shapes = node_shapes(layer_tree(spec), image_shape(spec, size))
    return {tap: shapes[path] for tap, path in tap_nodes(layer_tree(spec), taps(spec)).items()}


@dataclass(frozen=True, slots=True)
class TapInfo:
    """What a tap of a model is.

    - `path`: of the node whose output it is, in the layer tree
    - `channels`: of its map or vector
    - `stride`: input pixels per pixel of its map; None for a vector, which has no pixels
    - `shape`: (height, width, channels) or (channels,), for one image of the given size
    """

    path: str
    channels: int
    stride: int | None
    shape: Shape


def tap_info(
    spec: Source, taps: tuple[str, ...] | None = None, size: tuple[int, int] | None = None
) -> dict[str, TapInfo]:
    """{tap: TapInfo}, for images of `size` = (height, width), by default the spec's `input_size`.

    Without `taps`, those that have names: `stem_relu`, `stem`, every stage, `features` and the output, as far as the
    network has them. Raises InputError for an unknown tap, and as `layers` does.

    >>> import resnet_core as rn
    >>> rn.tap_info(rn.spec("resnet50"), ("stem_relu", "stage2.block1.conv2"))["stem_relu"]
    TapInfo(path='stem.relu', channels=64, stride=2, shape=(112, 112, 64))
    """
    spec = read_spec(spec)
    tree = layer_tree(spec)
    shapes, wide = node_shapes(tree, image_shape(spec, size)), node_shapes(tree, (WIDE, WIDE, spec.in_channels))
    found = tap_names(tree) if taps is None else tap_nodes(tree, taps)
    return {
        tap: TapInfo(
            path,
            channels=shapes[path][-1],
            stride=round(WIDE / wide[path][0]) if len(wide[path]) > 1 else None,
            shape=shapes[path],
        )
        for tap, path in found.items()
    }


#: The side of an image that every usual stride divides, and that is so large that what paddings add is nothing to it.
WIDE = (2 * 3 * 5 * 7) ** 8


def node_shapes(tree: Chain, shape: Shape) -> dict[str, Shape]:
    """{path: shape of its output} of every node, for one input of `shape`. Raises as `trace` does."""
    shapes: dict[str, Shape] = {}
    trace(tree, shape, shapes=shapes)
    return shapes


def trace(
    tree: Node, shape: Shape, path: str = "", shapes: dict[str, Shape] | None = None
) -> tuple[list[Layer], Shape]:
    """(every leaf with its shapes, shape of the output) of a tree at `path` for one input of `shape`.

    `shapes` gets {path: shape of its output} of every node. Raises InputError, with the node's path, if the input does
    not fit.
    """
    found: list[Layer] = []
    try:
        return found, _walk(tree, path, found, {} if shapes is None else shapes, shape)
    except _PlacedError as error:
        raise InputError(str(error)) from None  # the public class, which workers pass on


class _PlacedError(Exception):
    """An InputError that already has its node's path, on its way up through the combinators."""


def _walk(node: Node, path: str, found: list[Layer], shapes: dict[str, Shape], shape: Shape) -> Shape:
    try:
        if isinstance(node, Leaf):
            found.append(_layer(node, path, shape))
            output = found[-1].output_shape
        else:
            parts = [partial(_walk, part, join(path, segment), found, shapes) for segment, part in node.parts()]
            output = node.output_shape(shape, parts)
    except InputError as error:
        raise _PlacedError(f"{path}: {error}" if path else str(error)) from None
    shapes[path] = output  # after its parts: one without a segment has the same path
    return output


def _count(node: Node, shape: Shape, counted: dict[tuple[int, Shape], Totals]) -> Totals:
    """Sums over the leaves of a node; a combinator that stands in several places is counted once at each shape.

    By its identity: to hash a node is to hash all that is in it.
    """
    if isinstance(node, Leaf):
        return _leaf_totals(node, shape)
    if (known := counted.get((id(node), shape))) is not None:
        return known
    parameters = state = macs = 0

    def part_shape(part: Node, shape: Shape) -> Shape:
        nonlocal parameters, state, macs
        found = _count(part, shape, counted)
        parameters += found.parameters
        state += found.state
        macs += found.macs
        return found.output_shape

    output_shape = node.output_shape(shape, [partial(part_shape, part) for _, part in node.parts()])
    counted[id(node), shape] = result = Totals(parameters, state, macs, output_shape)
    return result


@lru_cache(maxsize=4096)
def _leaf_totals(leaf: Leaf, shape: Shape) -> Totals:
    """Named networks have most of their leaves in common."""
    layer = _layer(leaf, "", shape)
    return Totals(layer.parameters, layer.state, layer.macs, layer.output_shape)


def _layer(leaf: Leaf, path: str, shape: Shape) -> Layer:
    output = leaf.output_shape(shape)
    sizes = [(prod(tensor.shape), tensor.role) for tensor in leaf.tensors().values()]
    trained = sum(size for size, role in sizes if role != "statistic")
    return Layer(path, leaf, shape, output, trained, sum(size for size, _ in sizes), leaf.macs(shape))


def image_shape(spec: Source, size: tuple[int, int] | None = None) -> Shape:
    """(height, width, channels) of one image of `size`, by default the spec's own. Raises InputError below 1x1."""
    spec = read_spec(spec)
    height, width = spec.input_size if size is None else size
    if min(height, width) < 1:
        raise InputError(f"input: received {height}x{width}; expected at least 1x1")
    return (height, width, spec.in_channels)
