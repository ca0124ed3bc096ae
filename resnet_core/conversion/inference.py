"""The spec of a network from the names and shapes of its tensors, under their neutral names.

What has no tensor (the place of a stride, padding, epsilon, a pool) is no part of it and is given as `fields`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import product
from typing import Any

from msgspec.structs import replace

from resnet_core import zoo
from resnet_core.analysis import first_convolution, state
from resnet_core.architecture import layer_tree
from resnet_core.errors import InputError, WeightsError
from resnet_core.specification import EXPANSION, ResNetSpec, from_fields
from resnet_core.tree import Node, Shape
from resnet_core.weights import some, tensors_differ

Shapes = Mapping[str, Shape]

#: Which blocks have a projection shows in their tensors; what has none is given.
_PROJECTIONS = ("projection", "projection_first", "projection_all")

_BLOCK = re.compile(r"stage(\d+)\.block(\d+)\.(.+)")

#: What programs make of the inner width of squeeze-and-excitation, the first that gives the widths of all blocks.
SQUEEZES = tuple(
    {"attention_ratio": ratio, "attention_divisor": divisor}
    for ratio, divisor in ((1 / 16, 8), (0.25, 8), (1 / 16, 1), (0.25, 1), (0.5, 8), (1 / 8, 8))
)


def infer_spec(shapes: Shapes, fields: Mapping[str, Any]) -> ResNetSpec:
    """The spec whose tensors have these names and shapes, with the `fields` that no tensor shows.

    A network of the zoo keeps its name there. Raises WeightsError, one line, where these are the tensors of no ResNet
    of this project, or where a field contradicts them.
    """
    found = {**fields, **_visible(shapes, fields)}
    rules = [{"shortcut": rule} for rule in dict.fromkeys((found.get("shortcut", "projection"), *_PROJECTIONS))]
    if found["attention"] == "none":
        found.pop("attention_place", None)
    differences = []
    for rule, squeeze in product(rules, SQUEEZES if found["attention"] == "se" else ({},)):
        try:
            spec = from_fields({**found, **rule, **squeeze})
        except InputError as error:
            differences.append(str(error))
            continue
        if (difference := tensors_differ(shapes, state(spec))) is None:
            return named(spec)
        differences.append(difference)
    raise WeightsError(f"these tensors are of no ResNet that this project has: {differences[0]}")


def named(spec: ResNetSpec) -> ResNetSpec:
    """The network of the zoo that computes the same, for the spec's classes and channels; the spec if there is none."""
    for name, fields in zoo.ZOO.items():
        if fields["depths"] != list(spec.depths) or fields["block"] != spec.block:
            continue
        own = {"classes": spec.classes, "in_channels": spec.in_channels, "deploy": spec.deploy}
        known = replace(from_fields(zoo.fields(name)), **own)
        if layer_tree(known) == layer_tree(spec):
            return known
    return spec


def is_of_zoo(spec: ResNetSpec) -> bool:
    """Whether the network has the name of the one of the zoo that it is, but for its classes and channels."""
    return bool(spec.name) and named(replace(spec, name="")).name == spec.name


def fitting(shapes: Shapes) -> list[ResNetSpec]:
    """The networks of the zoo that have these tensors, but for the classes and the channels of the pictures.

    Of names for one network there is only the first.
    """
    classes = shapes.get("head.linear.weight", (None,))[0]
    found: dict[Node, ResNetSpec] = {}
    for name in zoo.ZOO:
        own = from_fields(zoo.fields(name))
        channels = shapes.get(f"{first_convolution(own)}.weight", (0, own.in_channels))[1]
        try:
            known = replace(own, classes=classes, in_channels=channels)
        except InputError:
            continue
        if tensors_differ(shapes, state(known)) is None:
            found.setdefault(layer_tree(known), known)
    return list(found.values())


def _visible(shapes: Shapes, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Every field that shapes show."""
    stages = _stages(shapes)
    stem, norms = _stem(shapes), _norms(shapes)
    before = norms.get("preactivation", False)
    return {
        **stem,
        **_blocks(stages, stem, fields),
        **norms,
        **_shortcuts(stages, before),
        **({} if norms.get("norm") == "none" else _biases(shapes, stages)),
        **_head(shapes, _width_out(stages[-1][-1])),
        "attention": _attention(shapes),
    }


Blocks = list[list[dict[str, Shape]]]


def _stages(shapes: Shapes) -> Blocks:
    """{tensor: shape} of every block of every stage. Raises WeightsError for a gap."""
    found: dict[int, dict[int, dict[str, Shape]]] = {}
    for name, shape in shapes.items():
        if match := _BLOCK.fullmatch(name):
            found.setdefault(int(match[1]), {}).setdefault(int(match[2]), {})[match[3]] = shape
    numbered = {"stages": sorted(found)} | {f"blocks of stage {stage}": sorted(found[stage]) for stage in found}
    for what, numbers in numbered.items():
        if numbers != list(range(1, len(numbers) + 1)):
            raise WeightsError(f"{what}: received {numbers}; expected numbers from 1, without a gap")
    stages = [[blocks[b] for b in sorted(blocks)] for _, blocks in sorted(found.items())]
    kernels = {name for stage in stages for block in stage for name in block if name.startswith("conv")}
    if not stages or not all("conv2.weight" in block for stage in stages for block in stage):
        raise WeightsError(f"received blocks of {some(sorted(kernels)) or 'nothing'}; expected conv1, conv2 and so on")
    return stages


def _stem(shapes: Shapes) -> dict[str, Any]:
    names = [name for name in ("stem.conv1.weight", "stem.conv2.weight", "stem.conv3.weight") if name in shapes]
    if "stem.conv.weight" in shapes:
        names = ["stem.conv.weight"]
    if not names:
        return {"stem": False}
    widths = [shapes[name][0] for name in names]
    first = shapes[names[0]]
    found: dict[str, Any] = {"stem_kernel": first[-1], "in_channels": first[1], "stem_channels": widths[-1]}
    if len(names) == 3:
        found["stem_type"] = "deep" if widths[0] == widths[1] else "tiered"
    if "stem.pool_conv.weight" in shapes:
        found["stem_pool"] = "conv"
    return found


def _width_out(block: Mapping[str, Shape]) -> int:
    return block["conv3.weight" if "conv3.weight" in block else "conv2.weight"][0]


def _blocks(stages: Blocks, stem: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Depths and widths. A bottleneck is four times as wide outside as its channels, unless this is no whole number."""
    block = "bottleneck" if "conv3.weight" in stages[0][0] else "basic"
    first = [stage[0] for stage in stages]
    inner = [blocks["conv1.weight" if block == "basic" else "conv2.weight"][0] for blocks in first]
    out = [_width_out(blocks) for blocks in first]
    expansion = fields.get("expansion") or EXPANSION[block]
    if any(width % expansion for width in out) or block == "basic":
        expansion = out[0] // inner[0] if out[0] > inner[0] else 1
    channels = [width // expansion for width in out]
    found: dict[str, Any] = {"depths": [len(stage) for stage in stages], "channels": channels, "block": block}
    if expansion != EXPANSION[block]:
        found["expansion"] = expansion
    if not stem.get("stem", True):
        found["in_channels"] = first[0]["conv1.weight"][1]
    elif stem["stem_channels"] == channels[0]:
        found["stem_channels"] = None
    if block == "bottleneck":
        found |= _groups(first, inner, channels)
    return found


def _groups(first: list[dict[str, Shape]], inner: list[int], channels: list[int]) -> dict[str, Any]:
    narrow = [blocks["conv1.weight"][0] for blocks in first]
    per_group = [blocks["conv2.weight"][1] for blocks in first]
    groups = [own // each for own, each in zip(narrow, per_group, strict=True)]
    found: dict[str, Any] = {}
    if len(set(groups)) > 1:
        found["group_channels"], share = inner[0] // groups[0], 1
    else:
        found["groups"] = share = groups[0]
    found["width_per_group"] = inner[0] * 64 // (channels[0] * share)
    if narrow != inner:
        found["reduce_first"] = inner[0] // narrow[0]
    return found


def _norms(shapes: Shapes) -> dict[str, Any]:
    """Batch norms where there are statistics, none where there are no norms; of others the format says which."""
    norms = {name.rpartition(".")[0] for name in shapes if "norm" in name.rpartition(".")[0].rpartition(".")[2]}
    counted = {norm for norm in norms if f"{norm}.running_mean" in shapes}
    if counted and counted != norms:
        lost = sorted(norms - counted)
        raise WeightsError(f"{len(lost)} of {len(norms)} norms are without statistics ({some(lost)})")
    if not norms:
        return {"norm": "none"}
    # A norm behind the last block, and none behind the last convolution of the stem.
    before = "head.norm" in norms and not norms & {"stem.norm", "stem.norm3"}
    return ({"norm": "batch"} if counted else {}) | ({"preactivation": True} if before else {})


def _shortcuts(stages: Blocks, preactivation: bool) -> dict[str, Any]:
    blocks = [block for stage in stages for block in stage]
    kernels = [block["shortcut.conv.weight"][-1] for block in blocks if "shortcut.conv.weight" in block]
    found: dict[str, Any] = {"shortcut_kernel": max(kernels)} if kernels and max(kernels) > 1 else {}
    normed = any("shortcut.norm.weight" in block for block in blocks)
    usual = not preactivation and "norm1.weight" in blocks[0]
    return found | ({"shortcut_norm": normed} if kernels and normed != usual else {})


def _biases(shapes: Shapes, stages: Blocks) -> dict[str, Any]:
    last = 3 if "conv3.weight" in stages[0][0] else 2
    places = {
        "stem": r"stem\.(pool_)?conv\d?",
        "inner": rf"stage\d+\.block\d+\.conv[1-{last - 1}]",
        "last": rf"stage\d+\.block\d+\.conv{last}",
        "shortcut": r"stage\d+\.block\d+\.shortcut\.conv",
    }
    biased = [name.removesuffix(".bias") for name in shapes if name.endswith(".bias")]
    return {"conv_bias": [place for place, own in places.items() if any(re.fullmatch(own, name) for name in biased)]}


def _attention(shapes: Shapes) -> str:
    gates = {name for name in shapes if name.endswith((".eca.conv.weight", ".se.reduce.weight"))}
    return "none" if not gates else "eca" if any(".eca." in name for name in gates) else "se"


def _head(shapes: Shapes, width: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "head.conv.weight" in shapes:
        found["head_channels"] = width = shapes["head.conv.weight"][0]
    if (shape := shapes.get("head.linear.weight")) is None:
        return found | {"classes": None}
    pool = {"head_pool": "both"} if shape[1] == 2 * width else {}
    return found | pool | {"classes": shape[0], "head_bias": "head.linear.bias" in shapes}
