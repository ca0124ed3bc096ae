"""The places of a network that a picture shows and a program says, and how programs call them.

A place has a key: `stem.conv`, `stage2`, `block.conv1`, `block.shortcut.norm`, `block.add`, `gate.reduce`, `kind.Conv`.
Blocks are one definition, so that `block.conv1` is the first convolution of every block.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from resnet_core import tree
from resnet_core.outline import Outline, Part, Step

#: How programs write a kind of layer that they do not call by its name.
WORDS: dict[type[tree.Leaf], str] = {
    tree.ReLU: r"\brelu|ReLU|np\.maximum",
    tree.Activation: r"relu|ReLU|silu|SiLU|gelu|GELU|[Hh]ard_?[Ss]wish|sigmoid|Sigmoid|activation|Activation",
    tree.Subsample: r"::|MaxPool\w*\(1,|subsample",
    tree.PadChannels: r"\bpad\(|ZeroPad",
    tree.DropPath: r"[Dd]rop",
    tree.Dropout: r"[Dd]ropout",
    tree.MaxPool: r"max_pool|MaxPool|\.max\(|same_pool",
    tree.AveragePool: r"avg_pool|AvgPool|[Aa]verage_?[Pp]ool|\.mean\(",
    tree.BlurPool: r"[Bb]lur",
    tree.Pad: r"\bpad\(|ZeroPad",
    tree.GlobalAveragePool: r"\.mean\(|AvgPool|GlobalAverage",
    tree.GlobalMaxPool: r"\.max\(|amax|MaxPool|GlobalMax|max_pool|argmax|gather|global_max",
    tree.GlobalConcatPool: r"cat\(|concatenate|Concatenate",
    tree.Linear: r"[Ll]inear|Dense|dense|@",
    tree.ChannelConv: r"[Cc]onv",
    tree.Conv: r"[Cc]onv",
}
_SUM = r"\w \+ \w|\+ self\.|Add\(|\badd\("


@dataclass(frozen=True, slots=True)
class Place:
    """A step of a definition in the order of computation.

    `name` finds it by its name, `words` by what it does; `branch`: it stands on the shortcut; `kind`: of the layer.
    """

    key: str
    name: str
    words: str
    branch: bool = False
    kind: str = ""


def block_places(outline: Outline) -> list[Place]:
    """Of the block: its body, the shortcut's layers, the sum, and what follows it."""
    block = outline.block
    places = [_place(f"block.{step.name}", rf"(?:self\.|\}}[._]){_name(step)}\b", step) for step in block.body]
    seen: set[str] = set()
    for form in block.forms:
        for step in form.chain:
            if step.name not in seen:
                seen.add(step.name)
                name = rf"shortcut[._]{_name(step)}\b"
                places.append(_place(f"block.shortcut.{step.name}", name, step, branch=True))
    if block.forms:
        places.append(Place("block.add", r"\}[._]add\b", _SUM))
    return [*places, *(_place(f"block.{s.name}", rf"(?:self\.|\}}[._]){_name(s)}\b", s) for s in block.post)]


def gate_places(outline: Outline) -> list[Place]:
    """Of the gate."""
    steps = outline.gate.steps if outline.gate is not None else ()
    return [_place(f"gate.{step.name}", rf"(?:self\.|\}}[._]){_name(step)}\b", step) for step in steps]


def network_places(outline: Outline) -> list[Place]:
    """Of the whole network: the layers of its stem and head, and each stage."""
    places: list[Place] = []
    for part in outline.parts:
        if part.arguments is not None:
            places.append(Place(part.name, rf"\b{part.name}\b", r"(?!)"))
        places += [_place(f"{part.name}.{s.name}", rf"\b{part.name}[._]{_name(s)}\b", s) for s in part.steps]
    return places


def sides(outline: Outline) -> Iterator[tuple[str, str]]:
    """(part, "stem", "stages" or "head"): what stands before the first stage, behind the last one, or between."""
    numbers = [n for n, part in enumerate(outline.parts) if part.arguments is not None]
    for number, part in enumerate(outline.parts):
        yield part.name, "stem" if number < numbers[0] else "head" if number > numbers[-1] else "stages"


def part_of(parts: Sequence[Part], text: str) -> str:
    """The part of the network that a line names, "" for none."""
    found = [part.name for part in parts if re.search(rf"\b{part.name}(?![a-zA-Z0-9])", text)]
    return found[0] if found else ""


def _name(step: Step) -> str:
    return step.name.replace("_", "[-_]")


def _place(key: str, name: str, step: Step, branch: bool = False) -> Place:
    words = WORDS.get(step.kind, r"(?!)") if issubclass(step.kind, tree.Leaf) else r"(?!)"
    return Place(key, name, words, branch, step.kind.__name__)
