"""Names of other libraries as data: a format is a few styles, and a style is one table of modules, read in both ways.

A template holds numbers: `{s}` is a stage, `{b}` a block and `{n}` a layer, counted from 1 as here; `{b-1}` is the same
number as a library writes it that counts from 0. `{i}` is a block where it is counted through all stages, of which no
name shows where one ends: a stage begins where the width of the blocks' last convolutions changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from resnet_core.conversion.arguments import Argument
from resnet_core.zoo import FAMILIES

Tensors = Mapping[str, str]
#: (pattern of a module's name, what its numbers are greater by than a template's, template of the other name).
Rows = tuple[tuple[re.Pattern[str], dict[str, int], str], ...]

#: What PyTorch calls the tensors of a module, which are the neutral names.
PYTORCH_TENSORS: Mapping[str, Tensors] = {
    "layer": {"weight": "weight", "bias": "bias"},
    "norm": {"weight": "weight", "bias": "bias", "running_mean": "running_mean", "running_var": "running_var"},
}

#: What TensorFlow calls the tensors of a norm.
TENSORFLOW_NORM: Tensors = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}

#: {number of a block through all stages, from 1: (stage, block)}.
Places = Mapping[int, tuple[int, int]]

#: The convolutions of blocks, by the last of which stages are told apart where blocks are counted through.
_CONVOLUTIONS = "stage{s}.block{b}.conv{n}"

_BLOCK = re.compile(r"stage(\d+)\.block(\d+)\.(.+)\.\w+$")
_NUMBER = re.compile(r"\{([a-z])([+-]\d)?\}")


@dataclass(frozen=True)
class Style:
    """How one program of a library names its modules.

    - `modules`: {neutral template: template there}; the first that fits is taken.
    - `fields`: fields of the spec that neither names nor shapes show, as this program has them.
    - `fixed`: fields that are what they are in every network of the program, though tensors would show others.
    - `alternatives`: what the same names may be as well, each as more fields; the spec or a configuration decides.
    - `configured`: what a configuration beside the names can say, each as more fields.
    - `arguments`: fields that the program's function takes as arguments: the same tensors serve all their values.
    - `preparation`: how the program itself prepares pictures, as fields of a Preparation; {} where it says nothing.
    - `order`: of the layers of a block in the file, as neutral names; by default as here.
    - `convolutions`: patterns of neutral modules whose linear kernels are convolutions of 1x1 there.
    - `collections`: {tensor there: what stands before the whole name}.
    - `scope`: what is written before every name; `{l}` in it is the number of layers of a network of bottlenecks.
    - `own`: modules are called as here. Such a file says nothing that its shapes do not; it needs a spec.
    """

    name: str
    modules: Mapping[str, str]
    fields: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    alternatives: tuple[Mapping[str, Any], ...] = ()
    configured: tuple[Mapping[str, Any], ...] = ()
    arguments: tuple[Argument, ...] = ()
    preparation: Mapping[str, Any] = field(default_factory=dict)
    order: tuple[str, ...] = ()
    convolutions: tuple[str, ...] = ()
    collections: Mapping[str, str] = field(default_factory=dict)
    scope: str = ""
    own: bool = False

    @cached_property
    def to_neutral(self) -> Rows:
        """Patterns of the names there, and what is written for them here."""
        return tuple((*_pattern(there), here) for here, there in self.modules.items())

    @cached_property
    def from_neutral(self) -> Rows:
        """Patterns of the names here, and what is written for them there."""
        return tuple((*_pattern(here), there) for here, there in self.modules.items())

    def place(self, name: str) -> tuple[int, ...]:
        """Where a tensor of a block stands in the file: (stage, block, layer); () where it is of no block."""
        match = _BLOCK.match(name)
        if match is None or not self.order:
            return ()
        return int(match[1]), int(match[2]), self.order.index(match[3])

    def is_convolution(self, module: str) -> bool:
        """Whether a linear layer's kernel is (out, in, 1, 1) there."""
        return any(re.fullmatch(pattern, module) for pattern in self.convolutions)


@dataclass(frozen=True)
class Numbered:
    """How layers are called in files that have no names of theirs: by their kind and a number, in the program's order.

    - `program`: whose order it is.
    - `kinds`: {kind of layer here: what all of it are called there}.
    - `block`: pattern of a block in the sizes of all kernels but the stem's, a digit each; its group is a projection,
      with which a stage begins.
    """

    program: str
    kinds: Mapping[str, str]
    block: str

    def is_automatic(self, names: Iterable[str]) -> bool:
        """Whether convolutions have the names that the library itself gives to layers without one."""
        own = re.escape(self.kinds["conv"].rpartition("/")[2])
        return any(re.match(rf"{own}(_\d{{1,5}})?/", name) for name in names)

    def place(self, layer: str) -> tuple[str, int] | None:
        """(kind, number) of a layer by its name; None where that is no number."""
        for kind, there in self.kinds.items():
            if match := re.fullmatch(rf"{re.escape(there)}(?:_([1-9]\d{{0,4}}))?", layer):
                return kind, int(match[1] or 0)
        return None


@dataclass(frozen=True)
class Format:
    """A library's files of weights, as far as names, shapes and layout go.

    - `tensors`: {"layer" or "norm": {neutral tensor: tensor there}}.
    - `layout`: of kernels: "oihw" as here, or "hwio".
    - `aliases`: {pattern: what stands in its place}, for what some files call otherwise, or put before every name.
    - `writes`: endings of the files that are written; "" is a folder.
    - `folder`: the file of weights in such a folder, beside its configuration; "" where a backend writes all of it.
    - `not_carried`: patterns of names that are no part of the network, such as counters.
    - `numbered`: what layers are called where they have no names.
    - `refused`: {pattern of a name: the program of the library that has it, and why no spec says what it computes}.
    """

    name: str
    title: str
    styles: tuple[Style, ...]
    tensors: Mapping[str, Tensors] = field(default_factory=lambda: PYTORCH_TENSORS)
    separator: str = "."
    layout: Literal["oihw", "hwio"] = "oihw"
    aliases: Mapping[str, str] = field(default_factory=dict)
    writes: tuple[str, ...] = ()
    folder: str = ""
    not_carried: tuple[str, ...] = ()
    numbered: Numbered | None = None
    refused: Mapping[str, str] = field(default_factory=dict)

    def carries(self, name: str) -> bool:
        """Whether a name is a part of the network, and no counter."""
        return not any(re.search(pattern, name) for pattern in self.not_carried)


def unseen(family: str, name: str) -> dict[str, Any]:
    """The fields of a network of the zoo but for those that its tensors show: what every one of its program has."""
    return {key: value for key, value in FAMILIES[family][name].items() if key not in ("depths", "channels", "block")}


def read_names(format: Format, style: Style, shapes: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    """({name there: neutral name}, names that this style does not have); counters are in neither."""
    found: dict[str, str] = {}
    unknown: list[str] = []
    places = _places(format, style, shapes)
    for name in shapes:
        if format.carries(name):
            neutral = _neutral(format, style, name, places)
            if neutral is None:
                unknown.append(name)
            else:
                found[name] = neutral
    return found, unknown


def write_names(format: Format, style: Style, names: Iterable[str]) -> dict[str, str] | None:
    """{neutral name: name there}; None where the style has no name for one of them."""
    found: dict[str, str] = {}
    names = list(names)
    blocks = sorted({(int(match[1]), int(match[2])) for name in names if (match := _BLOCK.match(name))})
    scope = _filled(style.scope, {"l": 3 * len(blocks) + 2})  # three of each block, the stem and the head
    for name in names:
        module, _, tensor = name.rpartition(".")
        written = module.replace(".", format.separator)
        if not style.own:
            written = _translated(style.from_neutral, module, dict(enumerate(blocks, start=1))) or ""
        own = format.tensors[_kind(module)].get(tensor)
        if not written or own is None:
            return None
        found[name] = f"{scope}{written}{format.separator}{own}"
        if own in style.collections:
            found[name] = f"{style.collections[own]}{format.separator}{found[name]}"
    return found


def _places(format: Format, style: Style, shapes: Mapping[str, Any]) -> Places:
    """{number of a block through all stages: (stage, block)}, by the widths that the blocks end with."""
    there = style.modules.get(_CONVOLUTIONS, "")
    if "{i" not in there:
        return {}
    pattern, starts = _pattern(there)
    widths: dict[int, tuple[int, int]] = {}  # {block: (its last convolution so far, the width of that)}
    for name, shape in shapes.items():
        module, _, tensor = _usual(format, name).rpartition(format.separator)
        if tensor == format.tensors["layer"]["weight"] and (match := pattern.fullmatch(module)):
            numbers = {key: int(value) - starts[key] for key, value in match.groupdict().items()}
            width = shape[-1] if format.layout == "hwio" else shape[0]
            widths[numbers["i"]] = max(widths.get(numbers["i"], (0, 0)), (numbers["n"], width))
    places: dict[int, tuple[int, int]] = {}
    stage, block, before = 0, 0, None
    for number, (_, width) in sorted(widths.items()):
        stage, block = (stage, block + 1) if width == before else (stage + 1, 1)
        places[number], before = (stage, block), width
    return places


def _usual(format: Format, name: str) -> str:
    for pattern, usual in format.aliases.items():
        name = re.sub(pattern, usual, name)
    return name


def _neutral(format: Format, style: Style, name: str, places: Places) -> str | None:
    module, separator, tensor = _usual(format, name).rpartition(format.separator)
    if not separator:
        return None
    path = module.replace(format.separator, ".") if style.own else _translated(style.to_neutral, module, places)
    if path is None:
        return None
    known = {there: here for here, there in format.tensors[_kind(path)].items()}
    return f"{path}.{known[tensor]}" if tensor in known else None


def _translated(rows: Rows, module: str, places: Places) -> str | None:
    for pattern, starts, template in rows:
        if match := pattern.fullmatch(module):
            numbers = {key: int(value) - starts[key] for key, value in match.groupdict().items()}
            if "i" in numbers and numbers["i"] in places:
                numbers["s"], numbers["b"] = places[numbers["i"]]
            elif "{i" in template:
                numbers["i"] = next((i for i, place in places.items() if place == (numbers["s"], numbers["b"])), 0)
            return _filled(template, numbers)
    return None


def _kind(module: str) -> str:
    return "norm" if "norm" in module.rpartition(".")[2] else "layer"


def _pattern(template: str) -> tuple[re.Pattern[str], dict[str, int]]:
    text, starts, place = "", {}, 0
    for found in _NUMBER.finditer(template):
        text += re.escape(template[place : found.start()])
        key, place = found[1], found.end()
        text += rf"(?P={key})" if key in starts else rf"(?P<{key}>0|[1-9]\d{{0,4}})"
        starts[key] = int(found[2] or 0)
    return re.compile(text + re.escape(template[place:])), starts


def _filled(template: str, numbers: Mapping[str, int]) -> str:
    return _NUMBER.sub(lambda found: str(numbers[found[1]] + int(found[2] or 0)), template)
