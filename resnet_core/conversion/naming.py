"""Names of other libraries as data: a format is a few styles, and a style is one table of modules, read in both ways.

A template holds numbers: `{s}` is a stage, `{b}` a block and `{n}` a layer, counted from 1 as here; `{b-1}` is the same
number as a library writes it that counts from 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

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
    - `preparation`: how the program itself prepares pictures, as fields of a Preparation; {} where it says nothing.
    - `order`: of the layers of a block in the file, as neutral names; by default as here.
    - `convolutions`: patterns of neutral modules whose linear kernels are convolutions of 1x1 there.
    """

    name: str
    modules: Mapping[str, str]
    fields: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    alternatives: tuple[Mapping[str, Any], ...] = ()
    configured: tuple[Mapping[str, Any], ...] = ()
    preparation: Mapping[str, Any] = field(default_factory=dict)
    order: tuple[str, ...] = ()
    convolutions: tuple[str, ...] = ()

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
class Format:
    """A library's files of weights, as far as names, shapes and layout go.

    - `tensors`: {"layer" or "norm": {neutral tensor: tensor there}}.
    - `layout`: of kernels: "oihw" as here, or "hwio".
    - `aliases`: {pattern: what stands in its place}, for what some files call otherwise, or put before every name.
    - `writes`: endings of the files that are written; "" is a folder.
    - `not_carried`: patterns of names that are no part of the network, such as counters.
    """

    name: str
    title: str
    styles: tuple[Style, ...]
    tensors: Mapping[str, Tensors] = field(default_factory=lambda: PYTORCH_TENSORS)
    separator: str = "."
    layout: Literal["oihw", "hwio"] = "oihw"
    aliases: Mapping[str, str] = field(default_factory=dict)
    writes: tuple[str, ...] = ()
    not_carried: tuple[str, ...] = ()

    def carries(self, name: str) -> bool:
        """Whether a name is a part of the network, and no counter."""
        return not any(re.search(pattern, name) for pattern in self.not_carried)


def unseen(family: str, name: str) -> dict[str, Any]:
    """The fields of a network of the zoo but for those that its tensors show: what every one of its program has."""
    return {key: value for key, value in FAMILIES[family][name].items() if key not in ("depths", "channels", "block")}


def read_names(format: Format, style: Style, names: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """({name there: neutral name}, names that this style does not have); counters are in neither."""
    found: dict[str, str] = {}
    unknown: list[str] = []
    for name in names:
        if format.carries(name):
            neutral = _neutral(format, style, name)
            if neutral is None:
                unknown.append(name)
            else:
                found[name] = neutral
    return found, unknown


def write_names(format: Format, style: Style, names: Iterable[str]) -> dict[str, str] | None:
    """{neutral name: name there}; None where the style has no name for one of them."""
    found: dict[str, str] = {}
    for name in names:
        module, _, tensor = name.rpartition(".")
        written = _translated(style.from_neutral, module)
        own = format.tensors[_kind(module)].get(tensor)
        if written is None or own is None:
            return None
        found[name] = f"{written}{format.separator}{own}"
    return found


def _neutral(format: Format, style: Style, name: str) -> str | None:
    for pattern, usual in format.aliases.items():
        name = re.sub(pattern, usual, name)
    module, separator, tensor = name.rpartition(format.separator)
    if not separator:
        return None
    path = _translated(style.to_neutral, module)
    if path is None:
        return None
    known = {there: here for here, there in format.tensors[_kind(path)].items()}
    return f"{path}.{known[tensor]}" if tensor in known else None


def _translated(rows: Rows, module: str) -> str | None:
    for pattern, starts, template in rows:
        if match := pattern.fullmatch(module):
            return _filled(template, {key: int(value) - starts[key] for key, value in match.groupdict().items()})
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
