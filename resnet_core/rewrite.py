"""Rewriting layer trees: the one place where a tree is made from another."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from resnet_core.tree import Chain, Combinator, Node

N = TypeVar("N", bound=Node)


def rewrite(tree: Chain, kind: type[N], change: Callable[[N], Node]) -> Chain:
    """The tree with every node that is a `kind` (for example `Conv`, `Leaf` or `Residual`) replaced by its `change`.

    Bottom-up: the parts of a node are rewritten before the node itself. Unchanged nodes are shared with the old tree.
    Raises TypeError if the root, or a part of a residual, would no longer be a chain.
    """
    root = _rewrite(tree, kind, change)
    if not isinstance(root, Chain):
        raise TypeError(f"root of the tree: received {type(root).__name__}; expected a Chain")
    return root


def _rewrite(node: Node, kind: type[N], change: Callable[[N], Node]) -> Node:
    if isinstance(node, Combinator):
        old = [part for _, part in node.parts()]
        new = [_rewrite(part, kind, change) for part in old]
        if any(after is not before for before, after in zip(old, new, strict=True)):
            node = node.with_parts(new)
    return change(node) if isinstance(node, kind) else node
