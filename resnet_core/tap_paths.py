"""Taps: which node's output a name means, and what a pass through a network keeps of them."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import takewhile
from typing import Any

from resnet_core.errors import InputError
from resnet_core.tree import Chain, Dropout, Linear, join, leaves, walk

#: What the names of the stem's pool, and of all that belongs to it, begin with.
_POOL = ("pad", "pool", "blur")


def tap_nodes(tree: Chain, wanted: Iterable[str]) -> dict[str, str]:
    """{tap: path of the node whose output it is}. Raises InputError for an unknown tap.

    A tap is a name of `tap_names`, or the dotted path of any node: `stage3.block2` (after its last activation),
    `stage3.block2.conv1`, `stage1.block1.shortcut`, `head.pool`.
    """
    names = tap_names(tree)
    if isinstance(wanted, str):
        raise InputError(f"taps: received the text {wanted!r}; expected a tuple of names from {', '.join(names)}")
    found: dict[str, str] = {}
    paths: dict[str, str] | None = None  # a deep tree has thousands, which the usual taps need not
    for tap in wanted:
        if tap in names:
            found[tap] = names[tap]
            continue
        if paths is None:
            paths = {path: path for path, _ in walk(tree) if path}
        if tap not in paths:
            raise InputError(_unknown(tap, names, paths))
        found[tap] = tap
    return found


def tap_names(tree: Chain) -> dict[str, str]:
    """{name: path of the node} of the taps that have a name of their own, the output last.

    - `stem_relu`: the stem before its pool, which is its last activation, or in a pre-activation network, whose stem
      has none, its last convolution
    - the children of the tree but the head: `stem`, `stage1` … `stageN`
    - `features` in a network that pools and has classes: the input of its last layer, before a dropout
    - the output: `logits` if the last layer is linear, else `features`
    """
    *_, (_, last) = leaves(tree)
    output = "logits" if isinstance(last, Linear) else "features"
    children = {name: name for name, _ in tree.children}
    end = list(children)[-1]
    named = {name: path for name, path in children.items() if name not in ("head", output)}
    before = {"stem_relu": _before_pool(tree)} if "stem_relu" not in named else {}
    after = {"features": _before_linear(tree)} if "features" not in (*named, output) else {}
    known = {name: path for name, path in (*before.items(), *named.items(), *after.items()) if path}
    return {**known, output: end}


def _before_pool(tree: Chain) -> str | None:
    """The path of the stem's last node before all that belongs to its pool."""
    stem = dict(tree.children).get("stem")
    if not isinstance(stem, Chain):
        return None
    before = list(takewhile(lambda name: not name.startswith(_POOL), (name for name, _ in stem.children)))
    return join("stem", before[-1]) if before else None


def _before_linear(tree: Chain) -> str | None:
    """The path of what gives the last layer its input, if that is linear and takes a vector."""
    name, head = tree.children[-1]
    if not isinstance(head, Chain) or not head.children:
        return None
    *before, (_, last) = head.children
    kept = [child for child, node in before if not isinstance(node, Dropout)]
    return join(name, kept[-1]) if kept and isinstance(last, Linear) and not last.dense else None


def _unknown(tap: object, names: Iterable[str], paths: Iterable[str]) -> str:
    near = get_close_matches(str(tap), dict.fromkeys((*names, *paths)), n=1)
    hint = f"did you mean {near[0]}? This" if near else "this"
    every = "and every path that `resnet show SPEC --depth 3` shows"
    return f"taps: received {tap!r}; {hint} network has {', '.join(names)}, {every}"


class Record:
    """What one pass keeps: the outputs of the wanted nodes, {path: value}.

    A backend whose code knows the path of each node calls `keep`. One that calls module by module hands each the
    record of what is wanted `inside`, where paths begin at that module; all of them fill the same `outputs`.
    """

    def __init__(self, wanted: Iterable[str] = (), outputs: dict[str, Any] | None = None, place: str = "") -> None:
        self.wanted, self.place = frozenset(wanted), place
        self.outputs: dict[str, Any] = {} if outputs is None else outputs

    def keep(self, path: str, value: Any) -> None:
        """Keep the value if it is wanted, to free the memory of the others.

        A part without a segment has its combinator's path; that ends later, and takes its place.
        """
        if path in self.wanted:
            self.outputs[join(self.place, path)] = value

    def wants(self, name: str) -> bool:
        """Whether the output of a part, or anything in it, is wanted."""
        return any(path == name or path.startswith(f"{name}.") for path in self.wanted)

    def inside(self, name: str) -> Record | None:
        """The record of a part; None if nothing below it is wanted."""
        start = f"{name}."
        wanted = [path.removeprefix(start) for path in self.wanted if path.startswith(start)]
        return Record(wanted, self.outputs, join(self.place, name)) if wanted else None
