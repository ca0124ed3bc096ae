"""What separates two networks: fields, counts, layers, tensors, and their programs line by line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import groupby
from typing import Any

from resnet_core.analysis import state, totals
from resnet_core.architecture import layer_tree
from resnet_core.difference.alignment import Row, align
from resnet_core.errors import InputError
from resnet_core.presentation.folding import names_text
from resnet_core.presentation.layer_text import kind_text
from resnet_core.programs.source import source
from resnet_core.spec_files import Source
from resnet_core.spec_files import spec as read_spec
from resnet_core.specification import ResNetSpec, to_fields
from resnet_core.tree import Leaf, Node, Residual, leaves, walk


@dataclass(frozen=True, slots=True)
class Change:
    """One thing in both networks; None where a network does not have it."""

    path: str
    left: Any
    right: Any


@dataclass(frozen=True, slots=True)
class LayerChange:
    """What is done to one layer in all these places, by path; `layer` is its path in its block.

    In words, None where a network does not have it. With an empty `layer`, a block that only one network has.
    `everywhere`: in every block that both networks have.
    """

    layer: str
    paths: tuple[str, ...]
    left: str | None
    right: str | None
    everywhere: bool

    @property
    def where(self) -> str:
        """`conv1 of every block`, `conv2 of stage2…4.block1`, `stage3.block7…23`, `stem.conv`."""
        if len(self.paths) == 1:
            return self.paths[0]
        blocks = [path.removesuffix(f".{self.layer}") if self.layer else path for path in self.paths]
        by_stage = [(stage, _runs([b.partition(".")[2] for b in own])) for stage, own in groupby(blocks, _stage)]
        alike = [(names, [stage for stage, _ in own]) for names, own in groupby(by_stage, lambda found: found[1])]
        place = ", ".join(f"{_runs(stages)}.{names}" for names, stages in alike)
        place = "every block" if self.everywhere else place
        return f"{self.layer} of {place}" if self.layer else place


@dataclass(frozen=True, slots=True)
class Program:
    """A network's program in one framework."""

    backend: str
    text: str


@dataclass(frozen=True, slots=True, repr=False)
class Difference:
    """What separates `left` and `right`; empty sequences where nothing does.

    - `fields`: of the spec, those that differ.
    - `counts`: parameters, state, MACs, depth in layers with weights; always all of them.
    - `layers`: what changes in which places, like changes of many blocks once.
    - `tensors`: by neutral name, the shapes.
    - `rows`: the two programs side by side, equal lines included.
    """

    left: str
    right: str
    fields: tuple[Change, ...]
    counts: tuple[Change, ...]
    layers: tuple[LayerChange, ...]
    tensors: tuple[Change, ...]
    programs: tuple[Program, Program]
    rows: tuple[Row, ...]

    @property
    def same_network(self) -> bool:
        """Whether both compute the same and hold the same tensors."""
        return not self.layers and not self.tensors

    def __repr__(self) -> str:
        what = {"fields": self.fields, "kinds of layer changes": self.layers, "tensors": self.tensors}
        counts = ", ".join(f"{len(found)} {name}" for name, found in what.items())
        return f"<Difference: {self.left} and {self.right} differ in {counts}>"

    def tensor_sentence(self) -> str:
        """How many tensors differ, and how."""
        only_left = sum(change.right is None for change in self.tensors)
        only_right = sum(change.left is None for change in self.tensors)
        other = len(self.tensors) - only_left - only_right
        return f"{only_left} only in {self.left}, {only_right} only in {self.right}, {other} of another shape"

    def to_json(self) -> dict[str, Any]:
        """JSON: names, changes as {"path", "left", "right"}, programs, and the rows of lines."""
        found = asdict(self)
        return {**found, "same_network": self.same_network}


def diff(
    left: Source,
    right: Source | None = None,
    *,
    backends: Sequence[str] = ("torch", "torch"),
) -> Difference:
    """What separates two networks, or with `right` left out, one network in two frameworks.

    `backends` are those whose programs are compared; no framework is needed. Specs are names, files or ResNetSpec.
    Raises InputError for what cannot be read or has no program, and for one network in one framework.
    """
    ours = read_spec(left)
    theirs = ours if right is None else read_spec(right)
    if len(backends) != 2:
        raise InputError(f"backends: received {len(backends)} names; expected two, such as torch and keras")
    if right is None and backends[0] == backends[1]:
        raise InputError(
            f"diff: received one network and one backend ({ours.name or 'without a name'}, {backends[0]}); "
            "expected a second network or two backends"
        )
    programs = (Program(backends[0], source(ours, backends[0])), Program(backends[1], source(theirs, backends[1])))
    names = [spec.name or "no name" for spec in (ours, theirs)]
    if backends[0] != backends[1]:
        names = [f"{name} in {backend}" for name, backend in zip(names, backends, strict=True)]
    return Difference(
        left=names[0],
        right=names[1],
        fields=tuple(_changes(to_fields(ours), to_fields(theirs))),
        counts=tuple(_counts(ours, theirs)),
        layers=tuple(_layers(layer_tree(ours), layer_tree(theirs))),
        tensors=tuple(_changes(state(ours), state(theirs))),
        programs=programs,
        rows=tuple(align(*(program.text for program in programs))),
    )


def _changes(left: Mapping[str, Any], right: Mapping[str, Any]) -> Iterator[Change]:
    for name in _merged(list(left), list(right)):
        if left.get(name) != right.get(name):
            yield Change(name, left.get(name), right.get(name))


def _merged(left: Sequence[str], right: Sequence[str]) -> list[str]:
    """All names: those of `left` in their order, each name that only `right` has behind the one before it there."""
    merged = list(left)
    known, place = set(left), 0
    for name in right:
        if name in known:
            place = merged.index(name) + 1
        else:
            merged.insert(place, name)
            place += 1
    return merged


def _counts(left: ResNetSpec, right: ResNetSpec) -> Iterator[Change]:
    ours, theirs = totals(left), totals(right)
    yield Change("input", (*left.input_size, left.in_channels), (*right.input_size, right.in_channels))
    yield Change("output", ours.output_shape, theirs.output_shape)
    yield Change("parameters", ours.parameters, theirs.parameters)
    yield Change("state", ours.state, theirs.state)
    yield Change("macs", ours.macs, theirs.macs)
    yield Change("layers with kernels", *(_depth(layer_tree(spec)) for spec in (left, right)))


def _depth(tree: Node) -> int:
    """Convolutions and linear layers on the long way: those of shortcuts are not counted, as in a network's name."""
    kernels = (path for path, leaf in leaves(tree) if any(t.role == "kernel" for t in leaf.tensors().values()))
    return sum(1 for path in kernels if ".shortcut." not in path)


def _layers(left: Node, right: Node) -> Iterator[LayerChange]:
    ours, theirs = _blocks(left), _blocks(right)
    places: dict[tuple[str, str | None, str | None], list[str]] = {}
    for name in _merged(list(ours), list(theirs)):
        for change in _block_changes(ours.get(name), theirs.get(name)):
            places.setdefault((change.path, change.left, change.right), []).append(name)
    both = [name for name in ours if "." in name and name in theirs]
    for (layer, before, after), blocks in places.items():
        paths = tuple(f"{block}.{layer}" if layer else block for block in blocks)
        yield LayerChange(layer, paths, before, after, bool(layer) and len(blocks) > 1 and blocks == both)


def _blocks(tree: Node) -> dict[str, dict[str, Leaf | str]]:
    """{block, or section without blocks: {path in it: leaf}}, and as text what the shortcut reads."""
    blocks: dict[str, dict[str, Leaf | str]] = {}
    places = {path: node for path, node in walk(tree) if isinstance(node, Residual)}
    for path, leaf in leaves(tree):
        parts = path.split(".")
        place = ".".join(parts[:2]) if ".".join(parts[:2]) in places else parts[0]
        blocks.setdefault(place, {})[path[len(place) + 1 :]] = leaf
    for path, node in places.items():
        before = len(node.pre.children)
        blocks[path]["shortcut"] = f"reads {list(node.pre.children)[-1][0]}" if before else "reads the input"
    return blocks


def _block_changes(left: Mapping[str, Leaf | str] | None, right: Mapping[str, Leaf | str] | None) -> tuple[Change, ...]:
    if left is None or right is None:
        return (Change("", _whole(left), _whole(right)),)
    found = [_change(path, left.get(path), right.get(path)) for path in _merged(list(left), list(right))]
    changes = [change for change in found if change is not None]
    common = [[path for path in one if path in other] for one, other in ((left, right), (right, left))]
    if common[0] != common[1]:
        orders = [" ".join(path for path in one if not path.startswith("shortcut")) for one in common]
        changes.insert(0, Change("order", *orders))
    return tuple(changes)


def _whole(block: Mapping[str, Leaf | str] | None) -> str | None:
    if block is None:
        return None
    count = sum(isinstance(leaf, Leaf) for leaf in block.values())
    return f"{count} layers"


def _change(path: str, left: Leaf | str | None, right: Leaf | str | None) -> Change | None:
    if left == right:
        return None
    if type(left) is not type(right) or isinstance(left, str) or left is None or right is None:
        return Change(path, _words(left), _words(right))
    assert isinstance(right, Leaf)
    changed = [f.name for f in fields(left) if getattr(left, f.name) != getattr(right, f.name)]  # type: ignore[arg-type]
    kind = type(left).__name__
    said = [", ".join(f"{name} {_plain(getattr(leaf, name))}" for name in changed) for leaf in (left, right)]
    return Change(path, *(f"{kind}: {text}".replace("_", " ") for text in said))


def _runs(names: Sequence[str]) -> str:
    """block1…3, block5 for block1, block2, block3, block5."""
    runs: list[list[str]] = []
    for name in names:
        if runs and _number(name) == _number(runs[-1][-1]) + 1:
            runs[-1].append(name)
        else:
            runs.append([name])
    return ", ".join(names_text(run) for run in runs)


def _stage(block: str) -> str:
    return block.partition(".")[0]


def _number(name: str) -> int:
    return int(re.sub(r"\D", "", name) or -2)


def _words(leaf: Leaf | str | None) -> str | None:
    return kind_text(leaf) if isinstance(leaf, Leaf) else leaf


def _plain(value: Any) -> str:
    """A number that both directions, or all sides, share is said once."""
    while isinstance(value, tuple) and len(set(value)) == 1:
        value = value[0]
    return str(value).lower() if isinstance(value, bool) else str(value)
