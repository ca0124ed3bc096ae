"""A tree from a tree: the one place where layer trees are rebuilt."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from resnet_core.tree import Chain, Combinator, Node

N = TypeVar("N", bound=Node)


def rewrite(tree: Chain, kind: type[N], change: Callable[[N], Node]) -> Chain:
    """The tree with `change` of every node that is a `kind`, for example `Conv`, `Leaf` or `Residual`.

    From the leaves up: the parts of a node are rewritten before the node itself. What stays as it was is shared with
    the old tree. Raises TypeError where the root, or a part of a residual, would no longer be a chain.
    """
    found = _rewrite(tree, kind, change)
    if not isinstance(found, Chain):
        raise TypeError(f"root of the tree: received {type(found).__name__}; expected a Chain")
    return found


def _rewrite(node: Node, kind: type[N], change: Callable[[N], Node]) -> Node:
    if isinstance(node, Combinator):
        old = [part for _, part in node.parts()]
        new = [_rewrite(part, kind, change) for part in old]
        if any(after is not before for before, after in zip(old, new, strict=True)):
            node = node.with_parts(new)
    return change(node) if isinstance(node, kind) else node
