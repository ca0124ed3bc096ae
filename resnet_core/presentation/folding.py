"""A network as one shows it: sections (stem, stages, head) of blocks, with like blocks in a row said once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from resnet_core.analysis import Layer, image_shape, trace
from resnet_core.architecture import layer_tree
from resnet_core.specification import ResNetSpec
from resnet_core.tree import Chain, Combinator, DropPath, Leaf, Node, Residual, Shape, leaves


@dataclass(frozen=True, slots=True)
class Block:
    """A residual block and the like ones that follow it, or a row of layers (`shortcut` is None then).

    Shapes, paths and layers are those of the first of the `names`. The output is post(body + shortcut), where the
    shortcut reads the value after `reads` layers of the body: 0 is the block's input. An empty one is the identity.
    """

    names: tuple[str, ...]
    body: tuple[Layer, ...]
    output_shape: Shape
    shortcut: tuple[Layer, ...] | None = None
    reads: int = 0
    post: tuple[Layer, ...] = ()
    rates: tuple[float, ...] = ()  #: at which each of the `names` is dropped; empty if none is

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers, in the order of computation."""
        return (*self.body, *(self.shortcut or ()), *self.post)


@dataclass(frozen=True, slots=True)
class Section:
    """A child of the network: its blocks, or one block without a name if it is a row of layers."""

    name: str
    input_shape: Shape
    output_shape: Shape
    blocks: tuple[Block, ...]

    @property
    def parameters(self) -> int:
        """Of all blocks, the folded ones too."""
        return sum(len(block.names) * sum(layer.parameters for layer in block.layers) for block in self.blocks)

    @property
    def macs(self) -> int:
        """Of all blocks, the folded ones too."""
        return sum(len(block.names) * sum(layer.macs for layer in block.layers) for block in self.blocks)


def fold(spec: ResNetSpec, size: tuple[int, int] | None = None, *, rates: bool = True) -> list[Section]:
    """The sections for images of `size` = (height, width), by default the spec's own. Raises as `analysis.layers`.

    Blocks that are dropped at different rates are alike; without `rates`, so is one that is never dropped.
    """
    sections = []
    shape = image_shape(spec, size)
    for name, node in layer_tree(spec).children:
        blocks = _blocks(name, node, shape)
        output_shape = blocks[-1].output_shape if blocks else shape
        sections.append(Section(name, shape, output_shape, tuple(_folded(blocks, rates))))
        shape = output_shape
    return sections


def names_text(names: Sequence[str]) -> str:
    """block2…6 for block2, block3 … block6."""
    if len(names) == 1:
        return names[0]
    return f"{names[0]}…{names[-1].removeprefix(names[0].rstrip('0123456789'))}"


def _blocks(name: str, node: Node, shape: Shape) -> list[Block]:
    """Every block of a section, one by one."""
    if not (isinstance(node, Chain) and any(isinstance(child, Combinator) for _, child in node.children)):
        return [_block("", name, node, shape)]
    blocks: list[Block] = []
    for child, part in node.children:
        blocks.append(_block(child, f"{name}.{child}", part, shape))
        shape = blocks[-1].output_shape
    return blocks


def _block(name: str, path: str, node: Node, shape: Shape) -> Block:
    layers, output_shape = trace(node, shape, path)
    if not isinstance(node, Residual):
        return Block((name,), tuple(layers), output_shape)
    pre, body, shortcut = (_count(part) for part in (node.pre, node.body, node.shortcut))
    ends = (pre + body, pre + body + shortcut)
    rates = tuple(layer.leaf.rate for layer in layers if isinstance(layer.leaf, DropPath))
    return Block(
        names=(name,),
        body=tuple(layers[: ends[0]]),
        output_shape=output_shape,
        shortcut=tuple(layers[ends[0] : ends[1]]),
        reads=pre,
        post=tuple(layers[ends[1] :]),
        rates=rates,
    )


def _count(node: Node) -> int:
    return sum(1 for _ in leaves(node))


def _folded(blocks: Sequence[Block], rates: bool) -> list[Block]:
    folded: list[Block] = []
    previous: tuple[object, ...] = ()
    for block in blocks:
        likeness = _likeness(block, rates)
        if folded and likeness == previous:
            names, all_rates = (*folded[-1].names, *block.names), (*folded[-1].rates, *block.rates)
            folded[-1] = replace(folded[-1], names=names, rates=all_rates)
        else:
            folded.append(block)
        previous = likeness
    return folded


def _likeness(block: Block, rates: bool) -> tuple[object, ...]:
    """Equal for blocks that do the same to inputs of the same shape."""

    def seen(layers: Sequence[Layer]) -> list[tuple[str, Leaf, Shape]]:
        kept = (layer for layer in layers if rates or not isinstance(layer.leaf, DropPath))
        return [(layer.path.rpartition(".")[2], _without_rate(layer.leaf), layer.input_shape) for layer in kept]

    shortcut = None if block.shortcut is None else seen(block.shortcut)
    return seen(block.body), shortcut, block.reads, seen(block.post)


def _without_rate(leaf: Leaf) -> Leaf:
    return DropPath(0.0) if isinstance(leaf, DropPath) else leaf
