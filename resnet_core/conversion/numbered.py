"""Files whose layers have numbers for names: each is known by its place in the order of the program's layers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from resnet_core.conversion.naming import Format, Numbered, Style
from resnet_core.errors import WeightsError

#: {kind of layer: its layers there, in their order}.
Layers = Mapping[str, list[str]]


def read_numbered(format: Format, style: Style, shapes: Mapping[str, Any]) -> dict[str, str] | None:
    """{name there: neutral name}; None where names are no numbers, or not those of this program's layers.

    Raises WeightsError where another order would have the same shapes.
    """
    rule = format.numbered
    if rule is None or not is_numbered(format, shapes):
        return None
    layers = _layers(rule, shapes)
    modules = _modules(style, _stages(rule, [shapes.get(f"{layer}/kernel", ()) for layer in layers["conv"]]))
    if not layers["linear"]:
        modules = [module for module in modules if _kind(module) != "linear"]
    places: dict[str, str] = {}
    for kind, own in layers.items():
        here = [module for module in modules if _kind(module) == kind]
        if len(here) != len(own):
            return None
        places.update(zip(own, here, strict=True))
    found = {}
    for name in shapes:
        layer, _, tensor = name.rpartition("/")
        known = format.tensors["norm" if _kind(places[layer]) == "norm" else "layer"]
        neutral = next((here for here, there in known.items() if there == tensor), None)
        if neutral is None:
            return None
        found[name] = f"{places[layer]}.{neutral}"
    _require_one_order({places[layer]: shapes.get(f"{layer}/kernel", ()) for layer in layers["conv"]})
    return found


def _require_one_order(kernels: Mapping[str, Any]) -> None:
    """Raise unless a stage shows that its projection stands before the last convolution of the block.

    Keras numbers the layers of a functional model by their depth, whatever the order in which they were made. These two
    have the same, and their order is that of the two arguments of the sum: the same in all stages of a program.
    """
    pairs = [
        (kernel, kernels[max(name for name in kernels if name.startswith(module.replace("shortcut.conv", "conv")))])
        for module, kernel in kernels.items()
        if module.endswith("shortcut.conv")
    ]
    if all(projection == last for projection, last in pairs):
        raise WeightsError(
            "its layers have numbers for names, and every projection has the shape of the convolution beside it: "
            "nothing shows which is which"
        )


def is_numbered(format: Format, names: Mapping[str, Any]) -> bool:
    """Whether these are tensors of layers that have numbers for names, of kinds that the format has."""
    rule = format.numbered
    return rule is not None and bool(names) and all(rule.place(name.rpartition("/")[0]) for name in names)


def _layers(rule: Numbered, names: Mapping[str, Any]) -> Layers:
    found: dict[str, dict[str, int]] = {kind: {} for kind in rule.kinds}
    for layer in {name.rpartition("/")[0] for name in names}:
        if (place := rule.place(layer)) is not None:
            found[place[0]][layer] = place[1]
    return {kind: sorted(layers, key=lambda layer: layers[layer]) for kind, layers in found.items()}


def _stages(rule: Numbered, kernels: list[tuple[int, ...]]) -> list[list[bool]]:
    """Whether each block of each stage has a projection; nothing where these kernels are in no such order."""
    sizes = "".join(str(shape[0]) if len(shape) == 4 and shape[0] < 10 else "?" for shape in kernels)[1:]
    blocks = list(re.finditer(rule.block, sizes))
    if "".join(block[0] for block in blocks) != sizes or not blocks or not blocks[0][1]:
        return []
    stages: list[list[bool]] = []
    for block in blocks:
        if block[1]:
            stages.append([])
        stages[-1].append(bool(block[1]))
    return stages


def _modules(style: Style, stages: list[list[bool]]) -> list[str]:
    """Every module in the order of the program."""
    blocks = [
        f"stage{s}.block{b}.{layer}"
        for s, stage in enumerate(stages, start=1)
        for b, projected in enumerate(stage, start=1)
        for layer in style.order
        if projected or not layer.startswith("shortcut")
    ]
    before, behind = ([name for name in style.modules if name.startswith(end)] for end in ("stem.", "head."))
    return [*before, *blocks, *behind]


def _kind(module: str) -> str:
    return module.rpartition(".")[2].rstrip("0123456789")
