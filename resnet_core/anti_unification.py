"""From a layer tree to its outline: like nodes are laid over each other until only definitions are left.

Each time the same (`expressions.Family`): all leaves of a kind become a helper, all gates one gate, all blocks one
block, the forms of their shortcuts conditions, and the blocks of each stage a loop. Nothing here knows a variant of
ResNet: which numbers vary, what follows from what, and when a shortcut projects is read off the tree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from resnet_core import tree
from resnet_core.errors import InputError
from resnet_core.expressions import Code, Family, Number, Value, literal_of, same
from resnet_core.outline import (
    NEUTRAL,
    Argument,
    Block,
    Form,
    Gate,
    Helper,
    Loop,
    Outline,
    Parameter,
    Part,
    Step,
    expand,
    literal,
    numbers,
)

#: Kinds of leaf that a program makes by a function of its own.
HELPERS: dict[type[tree.Leaf], str] = {tree.Conv: "conv", **dict.fromkeys(tree.NORMS, "norm")}

#: What a field of a leaf is about; other fields are a sort of their own.
SORTS = {
    **dict.fromkeys(("in_channels", "out_channels", "channels", "in_features", "out_features"), "width"),
    **dict.fromkeys(("before", "after"), "margin"),
}
INCOMING = ("in_channels", "channels", "in_features")
OUTGOING = ("out_channels", "out_features")

#: What a call leaves out.
DEFAULTS: dict[str, Number] = {
    "stride": 1, "dilation": 1, "groups": 1, "bias": False, "flag": False, "padding": 0, "rate": 0.0,
}  # fmt: skip

#: What a field may follow from, in a helper and in a block.
PADDINGS = ("kernel // 2", "(kernel - 1) // 2", "dilation", "dilation * (kernel // 2)", "dilation * (kernel - 1) // 2")
SECOND_NAMES = {"dilation": "dilation_after"}

#: What a parameter is called where it is not called as the leaf's field.
NAMES = {"rate": "drop_path", "kernel": "shortcut_kernel"}

#: Steps that a block may lack where others have them, and a shortcut too.
OPTIONAL = (tree.AveragePool, tree.BlurPool)

#: (kernels of the body, whether it begins with a norm) to the literature's name.
BLOCK_NAMES = {
    ((3, 3), False): "BasicBlock",
    ((1, 3, 1), False): "Bottleneck",
    ((3, 3), True): "PreActBlock",
    ((1, 3, 1), True): "PreActBottleneck",
}

#: The leaf that a gate is known by to the literature's name.
GATE_NAMES: dict[type[tree.Node], str] = {
    tree.Linear: "SqueezeExcitation",
    tree.ChannelConv: "EfficientChannelAttention",
}


def outline(network: tree.Chain) -> Outline:
    """The outline of a layer tree. Raises InputError, one line, for a tree that it cannot say.

    It is expanded again before it is returned: what comes out is the tree.
    """
    stages: dict[str, tree.Chain] = {}
    rows: dict[str, tree.Chain] = {}
    for name, node in network.children:
        children = [child for _, child in node.children] if isinstance(node, tree.Chain) else []
        if children and (_all(children, tree.Residual) or _all(children, tree.Chain)):
            stages[name] = node  # type: ignore[assignment]
        elif children and _all(children, tree.Leaf):
            rows[name] = node  # type: ignore[assignment]
        else:
            raise _no_program(f"child {name!r}, which is neither a row of layers nor a row of residual blocks")
    if not stages:
        raise _no_program("a network without residual blocks")
    helpers = tuple(helper for kind in HELPERS if (helper := _helper(network, kind)) is not None)
    gates = _Gates([node for _, node in tree.walk(network) if isinstance(node, tree.Gate)], helpers)
    gate = gates.gate()
    blocks = _Blocks([node for stage in stages.values() for _, node in stage.children], helpers, gates)
    block = blocks.block()
    loop, calls = _loop(stages, block, blocks)
    parts = [
        Part(name, arguments=calls[name]) if name in stages else Part(name, _row(rows[name], helpers))
        for name, _ in network.children
    ]
    found = _with_defaults(Outline(helpers, block, loop, tuple(parts), gate))
    if expand(found) != network:
        raise _no_program("a tree whose outline is another tree")
    return found


def _all(nodes: Sequence[tree.Node], kind: type[tree.Node]) -> bool:
    return all(isinstance(node, kind) for node in nodes)


def _no_program(what: str) -> InputError:
    return InputError(f"source: received {what}; programs are printed for stages of like residual blocks")


def _helper(network: tree.Chain, kind: type[tree.Leaf]) -> Helper | None:
    """What all leaves of a kind share, and how their other numbers follow from each other."""
    alike = list(dict.fromkeys(leaf for _, leaf in tree.leaves(network) if type(leaf) is kind))
    if not alike:
        return None
    family, parameters, shared = Family(), [], {}
    columns = _columns(dict(enumerate(alike)))
    for field in sorted(columns, key=lambda field: field == "padding"):  # which may follow from all others
        column, candidates = columns[field], _candidates(field, columns)
        value = None if SORTS.get(field) == "width" else family.find(field, column, candidates)
        if value is None:
            name = "channels" if field == "out_channels" else field
            value = family.add(name, field, column)
            default = "same" if "same" in column.values() else DEFAULTS.get(field)
            parameters.append(Parameter(name, SORTS.get(field, field), default, field))
        shared[field] = value
    return Helper(HELPERS[kind], kind, tuple(parameters), {field: shared[field] for field in columns})


def _candidates(field: str, columns: Mapping[str, Mapping[int, Number]]) -> Sequence[str]:
    """What a helper's field may follow from."""
    if field == "groups" and "channels" in columns:  # of a norm: so many channels each
        (member, groups), *_ = columns[field].items()
        return [f"channels // {columns['channels'][member] // groups}"]  # type: ignore[operator]
    return PADDINGS if field == "padding" else ()


def _columns(members: Mapping[int, tree.Leaf]) -> dict[str, dict[int, Number]]:
    """{field: {member: number}} of leaves of one kind."""
    found = {member: numbers(leaf) for member, leaf in members.items()}
    if len({tuple(own) for own in found.values()}) > 1:
        raise _no_program("some layers with a number that others of their kind do not have")
    return {field: {member: found[member][field] for member in found} for field in next(iter(found.values()))}


def _open_fields(
    kind: type[tree.Leaf | tree.Gate], columns: Mapping[str, object], helpers: Sequence[Helper]
) -> list[str]:
    """The fields that a step says: its helper's parameters, or all."""
    own = [helper for helper in helpers if helper.kind is kind]
    return [parameter.field for parameter in own[0].parameters] if own else list(columns)


def _row(chain: tree.Chain, helpers: Sequence[Helper]) -> tuple[Step, ...]:
    steps = []
    for name, leaf in chain.children:
        assert isinstance(leaf, tree.Leaf)
        found = numbers(leaf)
        steps.append(Step(name, type(leaf), {f: found[f] for f in _open_fields(type(leaf), found, helpers)}))
    return tuple(steps)


class _Definition:
    """Like nodes laid over each other: their numbers, the parameters, and what follows from them."""

    def __init__(self, every: Sequence[tree.Node], helpers: Sequence[Helper]) -> None:
        self.helpers = helpers
        self.members = list(dict.fromkeys(every))
        self.index = {member: index for index, member in enumerate(self.members)}
        self.family = Family()
        self.parameters: list[Parameter] = []
        self.derived: dict[str, Code] = {}
        self.width: Code | None = None  # of the value that the next step receives

    def _parameter(self, name: str, sort: str, column: Mapping[int, Number]) -> Code:
        """A new parameter; members that do not read it get what a call leaves out."""
        while name in self.family.columns:
            name += "_"
        rest = DEFAULTS.get(sort, next(iter(column.values())))
        self.parameters.append(Parameter(name, sort))
        return self.family.add(name, sort, {i: column.get(i, rest) for i in range(len(self.members))})


class _Gates(_Definition):
    """Every different gate of a network, laid over each other."""

    def gate(self) -> Gate | None:
        """The gate that all of them are; None where there is none."""
        if not self.members:
            return None
        rows = [gate.body.children for gate in self.members]  # type: ignore[union-attr]
        if len({tuple((name, type(node)) for name, node in row) for row in rows}) != 1:
            raise _no_program("gates of several kinds")
        if not all(isinstance(node, tree.Leaf) for _, node in rows[0]):
            raise _no_program("a gate with branches of its own")
        steps = []
        for place, (name, leaf) in enumerate(rows[0]):
            columns = _columns({member: row[place][1] for member, row in enumerate(rows)})  # type: ignore[misc]
            kind = type(leaf)
            assert issubclass(kind, tree.Leaf)
            found = {f: self._value(f, columns[f]) for f in _open_fields(kind, columns, self.helpers)}
            steps.append(Step(name, kind, found))
        name = next((GATE_NAMES[type(node)] for _, node in rows[0] if type(node) in GATE_NAMES), "Gate")
        return Gate(name, tuple(self.parameters), self.derived, tuple(steps))

    def _value(self, field: str, column: Mapping[int, Number]) -> Value:
        if field in INCOMING:
            self.width = self.width or self._parameter("channels", "width", column)
            if not self.family.gives(self.width, column):
                raise _no_program("a gate whose widths do not fit together")
            return self.width
        if field in OUTGOING:
            self.width = self._outgoing(column)
            return self.width
        found = self.family.find(field, column)
        return self._parameter(field, field, column) if found is None else found

    def _outgoing(self, column: Mapping[int, Number]) -> Code:
        if (found := self.family.first(["channels", "reduced"], column)) is not None:
            return found
        pairs = [(self.family.columns["channels"][member], number) for member, number in column.items()]
        share = max(1, *(channels // number for channels, number in pairs))  # type: ignore[operator, type-var]
        least, constant = min(column.values()), literal_of(column.values())  # type: ignore[type-var]
        shares = [f"channels // {share}", f"max({least}, channels // {share})"]
        literals = [str(constant)] if constant is not None else []
        code = self.family.first([*shares[:1], *literals, *shares[1:]], column)
        if code is None:
            return self._parameter("reduced", "width", column)
        self.derived["reduced"] = code
        return self.family.add("reduced", "width", column)

    def columns(self, members: Mapping[int, tree.Node]) -> dict[str, dict[int, Number]]:
        """{parameter: {member: number}} of these gates."""
        own = self.family.columns
        return {p.name: {m: own[p.name][self.index[gate]] for m, gate in members.items()} for p in self.parameters}


Row = Sequence[tuple[str, tree.Node | None]]


class _Blocks(_Definition):
    """Every different block of a network, laid over each other."""

    def __init__(self, every: Sequence[tree.Node], helpers: Sequence[Helper], gates: _Gates) -> None:
        super().__init__(every, helpers)
        self.gates = gates
        self.residuals = [_residual(member) for member in self.members]
        self.out: Code | None = None  # of what the block hands on

    def block(self) -> Block:
        """The block that all of them are."""
        first = self.residuals[0]
        plain = {type(member) for member in self.members} == {tree.Chain}
        bodies = _completed_rows([(*block.pre.children, *block.body.children) for block in self.residuals])
        body = self._steps(bodies, ends=True)
        self.out = self.width
        forms = () if plain else self._forms()
        post = self._steps({i: block.post.children for i, block in enumerate(self.residuals)})
        kernels = tuple(leaf.kernel[0] for _, leaf in bodies[0] if isinstance(leaf, tree.Conv))
        before = not isinstance(bodies[0][0][1], tree.Conv) if bodies[0] else not first.post.children
        name = BLOCK_NAMES.get((kernels, before), "Block")
        name = f"Plain{name.removeprefix('Basic')}" if plain else name
        order = {"width": 0, "stride": 1, "dilation": 2}
        parameters = tuple(sorted(self.parameters, key=lambda parameter: order.get(parameter.sort, 3)))
        return Block(name, parameters, self.derived, body, forms, post)

    def _steps(self, chains: Mapping[int, Row], ends: bool = False, into: Code | None = None) -> tuple[Step, ...]:
        """Like rows of nodes as one row. `ends`: the last convolution makes the block's width; `into`: it must.

        A row has None where it lacks a step of the others.
        """
        rows = list(chains.values())
        kinds = [
            next(type(row[place][1]) for row in rows if row[place][1] is not None) for place in range(len(rows[0]))
        ]
        makers = [place for place, kind in enumerate(kinds) if kind is tree.Conv]
        steps = []
        for place, kind in enumerate(kinds):
            if not issubclass(kind, tree.Leaf | tree.Gate):
                raise _no_program("a block with branches of its own")
            present = {member: node for member, row in chains.items() if (node := row[place][1]) is not None}
            name, absent = rows[0][place][0], chains.keys() - present.keys()
            columns = self._columns(kind, present)
            found = {}
            for field in _open_fields(kind, columns, self.helpers):
                if absent and field == "stride":  # where nothing strides, so that a name is found
                    columns[field] |= dict.fromkeys(absent, 1)
                if field in OUTGOING:
                    found[field] = self._outgoing(columns[field], ends and place == makers[-1], into)
                elif field in INCOMING:
                    found[field] = self._incoming(columns[field])
                else:
                    found[field] = self._number(field, columns[field], kind, name)
            truth = {member: member in present for member in chains}
            steps.append(Step(name, kind, found, self._where(truth) if absent else None))
        return tuple(steps)

    def _columns(
        self, kind: type[tree.Leaf | tree.Gate], members: Mapping[int, tree.Node]
    ) -> dict[str, dict[int, Number]]:
        return self.gates.columns(members) if kind is tree.Gate else _columns(members)  # type: ignore[arg-type]

    def _where(self, truth: Mapping[int, Number]) -> Code:
        """The condition of a step that some blocks lack."""
        flags = [name for name, sort in self.family.sorts.items() if sort == "flag"]
        return self.family.first(["stride != 1", *flags], truth) or self._parameter("pools", "flag", truth)

    def _incoming(self, column: Mapping[int, Number]) -> Value:
        if self.width is None:
            self.width = self._parameter("in_channels", "width", column)
        if not self.family.gives(self.width, column):
            raise _no_program("a block whose widths do not fit together")
        return self.width

    def _outgoing(self, column: Mapping[int, Number], last: bool, into: Code | None) -> Value:
        known = [name for name, sort in self.family.sorts.items() if sort == "width" and name != "in_channels"]
        prefer = [name for name in (into, self.width) if name is not None and name != "in_channels"]
        found = self.family.first([*prefer, *(known if known else ())], column)
        if found is None and known:
            candidates = [text for name in known for text in self._multiples(name, column)]
            found = self.family.first(candidates, column)
            if found is not None and last:
                self.derived["out_channels"] = found
                found = self.family.add("out_channels", "width", column)
        if found is None:
            name = "out_channels" if last and known else f"channels{len(known) + 1}" if known else "channels"
            found = self._parameter(name, "width", column)
        self.width = found
        return found

    def _multiples(self, name: str, column: Mapping[int, Number]) -> list[str]:
        (member, number), *_ = column.items()
        base = self.family.columns[name][member]
        assert isinstance(base, int)
        assert isinstance(number, int)
        return [f"{number // base} * {name}", f"{name} // {max(1, base // number)}"]

    def _number(self, field: str, column: Mapping[int, Number], kind: type[tree.Leaf | tree.Gate], step: str) -> Value:
        sort = SORTS.get(field, field) if kind is not tree.Gate else f"{step} {field}"
        candidates = ["stride"] if field == "kernel" and kind is tree.AveragePool else []
        if sort == "margin" and self.width is not None and self.out is not None:
            gap = f"{self.out} - {self.width}"
            candidates = [f"({gap}) // 2", f"{gap} - margin"]
        found = self.family.find(sort, column, candidates, literal=sort != "margin" or not candidates)
        if sort == "margin" and isinstance(found, Code) and "margin" not in self.derived and "//" in found:
            self.derived["margin"] = found
            gaps = {member: found.value(self.family.names(member)) for member in range(len(self.members))}
            return self.family.add("margin", sort, gaps)
        if found is None:
            taken = sum(own == sort for own in self.family.sorts.values())
            first = sort.replace(" ", "_") if kind is tree.Gate else NAMES.get(field, field)
            name = first if not taken else SECOND_NAMES.get(field, f"{first}{taken + 1}")
            found = self._parameter(name, sort, column)
        return found

    def _forms(self) -> tuple[Form, ...]:
        """The forms of the shortcut, each with the condition that tells it from those behind it."""
        groups: dict[tuple[int, tuple[tuple[str, type], ...]], list[int]] = {}
        for i, block in enumerate(self.residuals):
            skeleton = tuple((name, type(node)) for name, node in block.shortcut.children)
            reads = len(block.pre.children) if skeleton or len(block.pre.children) else 0
            groups.setdefault((reads, skeleton), []).append(i)
        ordered = sorted(_completed(groups).items(), key=lambda group: _rank(group[0][1]))
        forms = []
        for place, ((reads, skeleton), members) in enumerate(ordered):
            later = [member for _, others in ordered[place + 1 :] for member in others]
            condition = self._condition(skeleton, members, later) if later else None
            chains = {i: _with_neutral(self.residuals[i].shortcut.children, skeleton) for i in members}
            self.width = Code("in_channels") if "in_channels" in self.family.columns else self.width
            chain = self._steps(chains, into=self.out)
            forms.append(Form(condition, chain, reads))
        self.width = self.out
        return tuple(forms)

    def _condition(self, skeleton: tuple[tuple[str, type], ...], members: Sequence[int], later: Sequence[int]) -> Code:
        widens, strides = f"in_channels != {self.out}", "stride != 1"
        candidates = [f"{strides} or {widens}", widens, strides]
        projects = _rank(skeleton) == 0
        truth: dict[int, Number] = {**dict.fromkeys(members, True), **dict.fromkeys(later, False)}
        found = self.family.first(candidates if projects else candidates[::-1], truth)
        return found or self._parameter("project" if projects else "reshape", "flag", truth)


def _rank(skeleton: tuple[tuple[str, type], ...]) -> int:
    """A projection, a reshaping, the identity."""
    return 2 if not skeleton else 0 if any(kind is tree.Conv for _, kind in skeleton) else 1


def _completed(
    groups: Mapping[tuple[int, tuple[tuple[str, type], ...]], list[int]],
) -> dict[tuple[int, tuple[tuple[str, type], ...]], list[int]]:
    """Forms that differ only by steps that may do nothing are one form; the identity stays itself."""
    neutral = {*map(type, NEUTRAL), *OPTIONAL}
    merged: dict[tuple[int, tuple[tuple[str, type], ...]], list[int]] = {}
    for (reads, skeleton), members in sorted(groups.items(), key=lambda group: -len(group[0][1])):
        home = (reads, skeleton)
        for other_reads, longer in merged:
            missing = [step for step in longer if step not in skeleton]
            kept = tuple(step for step in longer if step in skeleton)
            if skeleton and other_reads == reads and kept == skeleton and all(kind in neutral for _, kind in missing):
                home = (other_reads, longer)
        merged.setdefault(home, []).extend(members)
    return merged


def _with_neutral(row: Row, skeleton: tuple[tuple[str, type], ...]) -> Row:
    """The row with every step of the skeleton: what it lacks does nothing, or is None where no leaf does nothing."""
    present, neutral = dict(row), {type(leaf): leaf for leaf in NEUTRAL}
    return [(name, present.get(name, neutral.get(kind))) for name, kind in skeleton]


def _completed_rows(rows: Sequence[Row]) -> dict[int, Row]:
    """The rows of all blocks with every step that one of them has; some may be lacking."""
    kinds = [[(name, type(node)) for name, node in row] for row in rows]
    steps: list[tuple[str, type]] = []
    for own in kinds:
        place = 0
        for step in own:
            place = steps.index(step) if step in steps else place
            steps[place : place + 1] = [step] if step in steps else [step, *steps[place : place + 1]]
            place += 1
    skeleton = tuple(steps)
    for own in kinds:
        lacking = [kind for name, kind in skeleton if (name, kind) not in own]
        if own != [step for step in skeleton if step in own] or not set(lacking) <= {tree.DropPath, *OPTIONAL}:
            raise _no_program("blocks of several kinds")
    return {i: _with_neutral(row, skeleton) for i, row in enumerate(rows)}


def _residual(block: tree.Node) -> tree.Residual:
    """The block, with nothing around its layers where it is plain."""
    if isinstance(block, tree.Residual):
        return block
    assert isinstance(block, tree.Chain)
    return tree.Residual(tree.Chain(), block, tree.Chain(), tree.Chain())


def _loop(stages: Mapping[str, tree.Chain], block: Block, blocks: _Blocks) -> tuple[Loop, dict[str, dict[str, Number]]]:
    """The stages as one loop, and each stage's call of it."""
    prefix = next(iter(stages.values())).children[0][0].rstrip("0123456789")
    loop = _Loop(stages, blocks)
    for chain in stages.values():
        if [name for name, _ in chain.children] != [f"{prefix}{k + 1}" for k in range(len(chain.children))]:
            raise _no_program("blocks that are not numbered from 1")
    found: dict[str, Argument] = {}
    by_need = sorted(block.parameters, key=lambda parameter: parameter.name == "in_channels")
    for parameter in by_need:
        found[parameter.name] = loop.argument(parameter, blocks, found)
    loop.parameters.sort(key=lambda p: (p.sort != "width", not p.name.startswith("in_channels")))
    parameters = (
        *(parameter for parameter in loop.parameters if parameter.sort == "width"),
        Parameter("depth", "depth"),
        *(parameter for parameter in loop.parameters if parameter.sort != "width"),
    )
    calls = {name: loop.call(name, parameters) for name in stages}
    arguments = tuple(found[parameter.name] for parameter in block.parameters)
    return Loop(parameters, arguments, prefix), calls


class _Loop:
    """Every block of every stage: members are numbered through the network."""

    def __init__(self, stages: Mapping[str, tree.Chain], blocks: _Blocks) -> None:
        self.family = Family()
        self.parameters: list[Parameter] = []
        self.stages: dict[str, list[int]] = {}
        self.blocks: list[int] = []
        for name, chain in stages.items():
            first = len(self.blocks)
            self.blocks += [blocks.index[node] for _, node in chain.children]  # type: ignore[index]
            self.stages[name] = list(range(first, len(self.blocks)))
        numbered = [(member, number) for own in self.stages.values() for number, member in enumerate(own, start=1)]
        self.family.add("number", "number", dict(numbered))
        self.family.add("depth", "depth", {member: len(own) for own in self.stages.values() for member in own})

    def call(self, stage: str, parameters: Sequence[Parameter]) -> dict[str, Number]:
        """What a stage says for each parameter."""
        return {parameter.name: self.family.columns[parameter.name][self.stages[stage][0]] for parameter in parameters}

    def argument(self, parameter: Parameter, blocks: _Blocks, found: Mapping[str, Argument]) -> Argument:
        """The cheapest way to say what each block gets: the fewest parameters of the stage."""
        column = {member: blocks.family.columns[parameter.name][block] for member, block in enumerate(self.blocks)}
        if (rising := self._rising(parameter, column)) is not None:
            return rising
        firsts = [own[0] for own in self.stages.values()]
        lasts = [own[-1] for own in self.stages.values()]
        others = [member for member in column if member not in set(firsts)]
        if parameter.name == "in_channels" and (handed := self._handed_on(blocks, found, column, others)) is not None:
            own = self._side("in_channels", parameter.sort, column, firsts, new=True)
            assert own is not None
            return Argument("in_channels", handed, "first", own) if own != handed else Argument("in_channels", own)
        ways = [("", list(column), []), ("first", others, firsts), ("last", sorted(set(column) - set(lasts)), lasts)]
        priced = []
        for order, (odd, usual, unusual) in enumerate(ways):
            values = [self._side("", parameter.sort, column, side, new=False) for side in (usual, unusual) if side]
            possible = all(self._constant(column, side) for side in (usual, unusual))
            if possible or all(value is not None for value in values):
                # Of two equally cheap ways the one in which the usual block does nothing unusual.
                strange = bool(usual) and values[0] not in (None, DEFAULTS.get(parameter.sort))
                priced.append((values.count(None), strange, order, odd, usual, unusual))
        if not priced:
            return self._every(parameter, column)
        cost, _, _, odd, usual, unusual = min(priced)
        usual_name = parameter.name
        unusual_name = f"{odd}_{parameter.name}" if cost == 2 else parameter.name
        other = self._side(unusual_name, parameter.sort, column, unusual, new=True) if unusual else 0
        value = self._side(usual_name, parameter.sort, column, usual, new=True) if usual else other
        assert other is not None
        assert value is not None
        return Argument(parameter.name, value, odd, other) if odd else Argument(parameter.name, value)  # type: ignore[arg-type]

    def _handed_on(
        self, blocks: _Blocks, found: Mapping[str, Argument], column: Mapping[int, Number], others: Sequence[int]
    ) -> Code | None:
        """What each block hands on to the next, in the names of the stage."""
        out = blocks.derived.get(str(blocks.out), blocks.out)
        if out is None or any(found[name].odd or found[name].value != name for name in out.names if name in found):
            return None
        numbers_ = {member: column[member] for member in others}
        return out if out.names <= found.keys() and self.family.gives(out, numbers_) else None

    def _constant(self, column: Mapping[int, Number], side: Sequence[int]) -> bool:
        """Whether each stage has one number on this side."""
        wanted = set(side)
        groups = ([column[m] for m in own if m in wanted] for own in self.stages.values())
        return all(literal_of(group) is not None for group in groups if group)

    def _side(
        self, name: str, sort: str, column: Mapping[int, Number], side: Sequence[int], *, new: bool
    ) -> Value | None:
        """The value on one side: a name or literal that is there already, else (`new`) a parameter of the stage."""
        numbers_ = {member: column[member] for member in side}
        found = self.family.find(sort, numbers_, literal=sort != "width")
        if found is not None or not new:
            return found
        spread: dict[int, Number] = {}
        for own in self.stages.values():
            here = [column[member] for member in own if member in numbers_]
            spread.update(dict.fromkeys(own, here[0] if here else DEFAULTS.get(sort, column[own[0]])))
        return self._parameter(name, sort, spread)

    def _rising(self, parameter: Parameter, column: Mapping[int, Number]) -> Argument | None:
        """A rate that rises evenly from the network's first block to its last: a stage is told what is before it."""
        last = max(1, len(column) - 1)
        before = {member: own[0] for own in self.stages.values() for member in own}
        top = column[len(column) - 1]
        code = Code(f"{literal(top)} * (before + number - 1) / {last}")
        if parameter.sort != "rate" or not all(same(top * m / last, rate) for m, rate in column.items()):  # type: ignore[operator]
            return None
        self._parameter("before", "before", before)
        assert self.family.gives(code, column)
        return Argument(parameter.name, code)

    def _every(self, parameter: Parameter, column: Mapping[int, Number]) -> Argument:
        """No pattern: the stage is told each block's number."""
        rows = {m: tuple(column[other] for other in own) for own in self.stages.values() for m in own}
        name = self._parameter(f"all_{parameter.name}", f"tuple {parameter.sort}", rows)
        return Argument(parameter.name, Code(f"{name}[number - 1]"))

    def _parameter(self, name: str, sort: str, column: Mapping[int, Number]) -> Code:
        default = DEFAULTS.get(sort)
        used = default is not None and any(same(default, column[own[0]]) for own in self.stages.values())
        self.parameters.append(Parameter(name, sort, default if used else None))
        return self.family.add(name, sort, column)


def _with_defaults(found: Outline) -> Outline:
    """A default is kept where some call leaves it out; parameters without one stand before the others."""
    helpers = []
    for helper in found.helpers:
        said = [step.numbers for step in found.steps() if step.kind is helper.kind]
        parameters = [
            p
            if p.default is not None and any(_is(call[p.field], p.default) for call in said)
            else replace(p, default=None)
            for p in helper.parameters
        ]
        parameters.sort(key=lambda parameter: parameter.default is not None)
        helpers.append(replace(helper, parameters=tuple(parameters)))
    loop = tuple(sorted(found.loop.parameters, key=lambda parameter: parameter.default is not None))
    return replace(found, helpers=tuple(helpers), loop=replace(found.loop, parameters=loop))


def _is(value: Value, default: Number) -> bool:
    return not isinstance(value, Code) and same(value, default)
