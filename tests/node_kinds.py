"""The kinds of nodes that a layer tree can have, read from its module, so that no test keeps a list of its own."""

from __future__ import annotations

from resnet_core import tree


def kinds(base: type) -> list[type]:
    """The classes of the module that derive from a base, in its order."""
    return [kind for kind in vars(tree).values() if isinstance(kind, type) and base in kind.__mro__[1:]]


LEAVES, COMBINATORS = kinds(tree.Leaf), kinds(tree.Combinator)
