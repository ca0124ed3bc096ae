"""The outline of a network: its layer tree folded into definitions, as one would write it down as a program.

`anti_unification.outline` finds it; each backend's `source.py` writes it out. `expand` unfolds it again, and the tree
that comes out is the tree that went in: the outline says the whole network, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from resnet_core import tree
from resnet_core.errors import InputError
from resnet_core.expressions import Code, Number, Value, evaluate


@dataclass(frozen=True)
class Parameter:
    """What a call of a definition says. Without a default, every call says it."""

    name: str
    sort: str
    default: Number | None = None
    #: The leaf's field that a helper's parameter fills.
    field: str = ""


@dataclass(frozen=True)
class Step:
    """A leaf of a definition, or a call of the gate: the numbers that its maker does not know already, or all of them.

    A block without the step is one where `condition` does not hold.
    """

    name: str
    kind: type[tree.Leaf | tree.Gate]
    numbers: Mapping[str, Value]
    condition: Code | None = None


@dataclass(frozen=True)
class Helper:
    """A function that makes every leaf of one kind: what all of them share is said once."""

    name: str
    kind: type[tree.Leaf]
    parameters: tuple[Parameter, ...]
    numbers: Mapping[str, Value]  #: every field; code over the parameters


@dataclass(frozen=True)
class Gate:
    """The gate: what it is multiplied by is computed by `steps`."""

    name: str
    parameters: tuple[Parameter, ...]
    derived: Mapping[str, Code]
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Form:
    """One form of a block's shortcut: taken `if condition`, and from `reads` steps into the body."""

    condition: Code | None
    chain: tuple[Step, ...]
    reads: int


@dataclass(frozen=True)
class Block:
    """The residual block: post(body(x) + shortcut), with the shortcut of the first form whose condition holds.

    A plain block has no form, and nothing is added.
    """

    name: str
    parameters: tuple[Parameter, ...]
    derived: Mapping[str, Code]  #: names for what follows from the parameters
    body: tuple[Step, ...]
    forms: tuple[Form, ...]
    post: tuple[Step, ...]

    def derived_of(self, form: Form) -> dict[str, Code]:
        """The derived names that only this form reads: they belong inside its `if`."""
        elsewhere = [other.chain for other in self.forms if other is not form]
        conditions = [other.condition for other in self.forms if other.condition is not None]
        used = _names([self.body, self.post, *elsewhere], conditions)
        return {name: code for name, code in self.derived.items() if name not in used and form.condition is not None}

    def derived_outside(self) -> dict[str, Code]:
        """The other derived names: they stand before every `if`."""
        inside = {name for form in self.forms for name in self.derived_of(form)}
        return {name: code for name, code in self.derived.items() if name not in inside}


@dataclass(frozen=True)
class Argument:
    """What the loop gives each block for one parameter, and the odd block (the first or the last) instead."""

    name: str
    value: Value
    odd: Literal["", "first", "last"] = ""
    other: Value = 0

    def text(self, number: str = "number", depth: str = "depth") -> str:
        """The argument as one expression."""
        if not self.odd:
            return literal(self.value)
        test = f"{number} == {1 if self.odd == 'first' else depth}"
        if self.value is False and self.other is True:
            return test
        return f"{literal(self.other)} if {test} else {literal(self.value)}"


@dataclass(frozen=True)
class Loop:
    """A stage: `depth` blocks, named by number."""

    parameters: tuple[Parameter, ...]
    arguments: tuple[Argument, ...]
    prefix: str  #: of the blocks' names


@dataclass(frozen=True)
class Part:
    """A child of the network: a row of leaves (`steps`), or a call of the loop with `arguments`."""

    name: str
    steps: tuple[Step, ...] = ()
    arguments: Mapping[str, Number] | None = None


@dataclass(frozen=True)
class Outline:
    """A whole network."""

    helpers: tuple[Helper, ...]
    block: Block
    loop: Loop
    parts: tuple[Part, ...]
    gate: Gate | None = None

    def helper(self, kind: type[tree.Leaf | tree.Gate]) -> Helper | None:
        """The helper that makes leaves of this kind."""
        return next((helper for helper in self.helpers if helper.kind is kind), None)

    def steps(self) -> list[Step]:
        """Every step of every definition."""
        block = [*self.block.body, *(step for form in self.block.forms for step in form.chain), *self.block.post]
        gate = self.gate.steps if self.gate is not None else ()
        return [*gate, *block, *(step for part in self.parts for step in part.steps)]


#: Leaves that do nothing: a block has them where others of its kind do something.
NEUTRAL: tuple[tree.Leaf, ...] = (
    tree.Subsample((1, 1)),
    tree.PadChannels(0, 0),
    tree.DropPath(0.0),
)


def literal(value: Value) -> str:
    """A value in Python as a formatter writes it: 1e-5 and not 1e-05, "same" and not 'same'."""
    text = value if isinstance(value, Code) else repr(value)
    if text == "'same'":
        return '"same"'
    return text.replace("e-0", "e-") if isinstance(value, float) else str(text)


def numbers(leaf: tree.Leaf) -> dict[str, Number]:
    """A leaf's numbers by field, one for both directions; what is None is left out.

    Raises InputError where the directions or sides differ.
    """
    found: dict[str, Number] = {}
    for field in fields(leaf):  # type: ignore[arg-type]
        value = getattr(leaf, field.name)
        while isinstance(value, tuple):
            if len(set(value)) != 1:
                name = type(leaf).__name__
                raise InputError(f"source: received {field.name}={value} of a {name}; only square ones have a program")
            value = value[0]
        if value is not None:
            found[field.name] = value
    return found


def leaf_of(kind: type[tree.Leaf], found: Mapping[str, Number]) -> tree.Leaf:
    """The leaf with these numbers: the opposite of `numbers`."""
    values: dict[str, Any] = dict(found)
    for field in fields(kind):  # type: ignore[arg-type]
        value = values.get(field.name)
        if value is None:
            continue
        if field.type == "Pair":
            values[field.name] = (value, value)
        elif field.type in ("Padding", "tuple[Pair, Pair]") and value != "same":
            values[field.name] = ((value, value), (value, value))
    return kind(**values)


def expand(outline: Outline) -> tree.Chain:
    """The layer tree that an outline stands for. Steps that do nothing are left out."""
    children = []
    for part in outline.parts:
        node = _leaves(outline, part.steps, {}) if part.arguments is None else _stage(outline, part.arguments)
        children.append((part.name, node))
    return tree.Chain(tuple(children))


def _stage(outline: Outline, arguments: Mapping[str, Number]) -> tree.Chain:
    blocks: list[tuple[str, tree.Node]] = []
    depth = int(arguments["depth"])  # type: ignore[arg-type]
    known: dict[tuple[Number, ...], tree.Node] = {}  # like blocks are one node
    for number in range(1, depth + 1):
        names = {**arguments, "number": number}
        odd = {"first": number == 1, "last": number == depth, "": False}
        call = {a.name: evaluate(a.other if odd[a.odd] else a.value, names) for a in outline.loop.arguments}
        block = known.setdefault(tuple(call.values()), _block(outline, call))
        blocks.append((f"{outline.loop.prefix}{number}", block))
    return tree.Chain(tuple(blocks))


def _block(outline: Outline, call: Mapping[str, Number]) -> tree.Node:
    block = outline.block
    names = _with_derived(call, block.derived)
    if not block.forms:
        return _leaves(outline, block.body, names)
    form = next(form for form in block.forms if form.condition is None or form.condition.value(names))
    return tree.Residual(
        pre=_leaves(outline, block.body[: form.reads], names),
        body=_leaves(outline, block.body[form.reads :], names),
        shortcut=_leaves(outline, form.chain, names),
        post=_leaves(outline, block.post, names),
    )


def _with_derived(call: Mapping[str, Number], derived: Mapping[str, Code]) -> dict[str, Number]:
    names = dict(call)
    for name, code in derived.items():
        names[name] = code.value(names)
    return names


def _leaves(outline: Outline, steps: Sequence[Step], names: Mapping[str, Number]) -> tree.Chain:
    taken = (step for step in steps if step.condition is None or step.condition.value(names))
    made = ((step.name, _node(outline, step, names)) for step in taken)
    return tree.Chain(tuple((name, node) for name, node in made if node not in NEUTRAL))


def _node(outline: Outline, step: Step, names: Mapping[str, Number]) -> tree.Node:
    found = {field: evaluate(value, names) for field, value in step.numbers.items()}
    if not issubclass(step.kind, tree.Leaf):
        assert outline.gate is not None
        return tree.Gate(_leaves(outline, outline.gate.steps, _with_derived(found, outline.gate.derived)))
    if (helper := outline.helper(step.kind)) is not None:
        call = {parameter.name: found[parameter.field] for parameter in helper.parameters}
        found = {field: evaluate(value, call) for field, value in helper.numbers.items()}
    return leaf_of(step.kind, found)


def _names(chains: Sequence[Sequence[Step]], codes: Sequence[Code]) -> set[str]:
    values = [value for chain in chains for step in chain for value in step.numbers.values()]
    return {name for value in [*values, *codes] if isinstance(value, Code) for name in value.names}
