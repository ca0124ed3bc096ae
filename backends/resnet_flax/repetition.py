"""Many equal blocks in a row as a loop: XLA's work then grows with the kinds of blocks, and not with their number."""

from __future__ import annotations

from contextvars import ContextVar
from itertools import groupby
from operator import itemgetter

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from resnet_core import tree
from resnet_core.tap_paths import Record

#: From this many blocks on, which are more than any network of ImageNet's has, and written out are hardly compiled:
#: a training step through a loop takes longer (ResNet-56, 16 images, an Intel Xeon: 0.34 s, written out 0.21).
LEAST = 100

#: Whether what is traced is the body of a loop, in which XLA computes the gradients of convolutions slowly.
IN_A_LOOP = ContextVar("IN_A_LOOP", default=False)

Row = tuple[bool, tuple[str, ...]]  #: whether the children may be a loop, and their names


def rows(chain: tree.Chain) -> tuple[Row, ...]:
    """Equal children in a row together, in order; none where no row is long enough.

    Random layers have factors of their own in each block, which are then left as they are.
    """
    found = []
    for node, children in groupby(chain.children, key=itemgetter(1)):
        names = tuple(name for name, _ in children)
        random = any(isinstance(leaf, tree.Dropout | tree.DropPath) for _, leaf in tree.leaves(node))
        found.append((len(names) >= LEAST and not random, names))
    return tuple(found) if any(loop for loop, _ in found) else ()


def same_mode(module: nnx.Module, names: tuple[str, ...]) -> bool:
    """Whether children differ in values alone, and not in what is trained."""
    first, *others = (nnx.graphdef(getattr(module, name)) for name in names)
    return all(other == first for other in others)


def repeat(module: nnx.Module, names: tuple[str, ...], x: Array) -> Array:
    """The output of the children, one after the other; what they changed of their statistics is theirs afterward."""
    blocks = [getattr(module, name) for name in names]
    graph = nnx.graphdef(blocks[0])

    def step(x: Array, state: nnx.State) -> tuple[Array, nnx.State]:
        block = nnx.merge(graph, state)
        return block(x), nnx.state(block, nnx.BatchStat)

    states = jax.tree.map(lambda *values: jnp.stack(values), *map(nnx.state, blocks))
    token = IN_A_LOOP.set(True)
    try:
        x, statistics = jax.lax.scan(step, x, states)
    finally:
        IN_A_LOOP.reset(token)
    for number, block in enumerate(blocks):
        nnx.update(block, jax.tree.map(lambda values, number=number: values[number], statistics))
    return x


def wanted(names: tuple[str, ...], record: Record | None) -> bool:
    """Whether a child's output, or anything in it, is to be kept."""
    return record is not None and any(record.wants(name) for name in names)
