"""The spec of a graph's layers, from kinds, kernels, strides and widths.

That the graph is this network is decided layer by layer afterwards (`graph_matching`), which tells between the rules of
shortcuts too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import product
from math import gcd, prod
from typing import Any, get_args

from resnet_core.conversion.graph_dilation import dense
from resnet_core.conversion.graph_layers import Step
from resnet_core.conversion.graph_matching import matched
from resnet_core.conversion.graph_parts import Parts, convolutions, divided, gates, steps
from resnet_core.conversion.graph_steps import Gate, Item, is_step
from resnet_core.conversion.inference import SQUEEZES
from resnet_core.errors import InputError, WeightsError
from resnet_core.padding import Pair
from resnet_core.specification import EXPANSION, ResNetSpec, from_fields
from resnet_core.tree import Function

Fields = dict[str, Any]

#: Rules of shortcuts; which blocks have a projection, and how others widen, decides between them.
_SHORTCUTS = ("projection", "projection_first", "projection_all", "subsample", "pad")
_ACTIVATIONS = ("relu", *get_args(Function))
#: {kind of layer: the field's value}.
_NORMS = {"norm": "batch", "group norm": "group", "layer norm": "layer"}
_ANTIALIAS = {"blur": "blur", "mean over windows": "average"}
_HEAD_POOLS = {"mean": "average", "mean over windows": "average", "maximum": "max", "max": "max", "both": "both"}


def infer_spec(items: list[Item], size: Pair | None) -> ResNetSpec:
    """The spec of the network that these layers are, read for images of `size`, which may be open.

    Raises WeightsError where they are none: the difference to the spec that comes nearest.
    """
    furthest, reason = -1, ""
    for fields in _candidates(items, size):
        count = 0
        try:
            spec = from_fields(fields)
            for _ in matched(spec, items, size or spec.input_size):
                count += 1
        except InputError as error:
            if count > furthest:
                furthest, reason = count, str(error)
        else:
            return spec
    raise WeightsError(f"the graph is no ResNet of this project: {reason}")


def _candidates(items: list[Item], size: Pair | None) -> Iterator[Fields]:
    """What the layers may be."""
    image = {} if size is None else {"input_size": list(size)}
    for parts in divided(items):
        fields = {**image, **_fields(parts, items)}
        rules = ("none",) if parts.plain else _SHORTCUTS
        for stages, form, rule in product(_stages(parts), _forms(parts, items), rules):
            found = {**fields, **stages, **form, "shortcut": rule}
            for more in dense(parts, found):
                yield {**found, **more}
            yield found


def _fields(parts: Parts, items: list[Item]) -> Fields:
    """What all candidates have."""
    every = [*steps(items)]
    found: Fields = {
        "preactivation": parts.preactivation,
        **_stem(parts),
        **_shortcut(parts),
        **_attention(parts),
        **_norm(every),
        **_head(parts),
        "activation": _usual([step.kind for step in every if step.kind in _ACTIVATIONS] or ["none"]),
    }
    strided = [*steps(parts.stem), *(step for block in parts.blocks for step in steps(block.body))]
    if pools := [_ANTIALIAS[step.kind] for step in strided if step.kind in _ANTIALIAS]:
        found["antialias"] = _usual(pools)
    if any(_uneven(step) for step in steps(parts.blocks) if step.kind == "conv"):
        found["conv_padding"] = "same"
    if any(step.numbers["standardize"] for step in convolutions(every)):
        found["standardize_weights"] = True
    return found


def _forms(parts: Parts, items: list[Item]) -> list[Fields]:
    """With norms or, where they are folded, the form for inference; of a pre-activation network some stay."""
    biases = {"conv_bias": _biases(parts)}
    if not any(step.kind in _NORMS for step in steps(items)):
        return [{"deploy": True}]
    if not parts.preactivation:
        return [biases]
    normed = any(step.kind in _NORMS for block in parts.blocks for step in steps(block.shortcut))
    projects = any(convolutions(block.shortcut) for block in parts.blocks)
    own = {"shortcut_norm": True} if projects and normed else {}
    return [{**biases, **own}, {**biases, "deploy": True}]


def _shortcut(parts: Parts) -> Fields:
    every = [step for block in parts.blocks for step in steps(block.shortcut)]
    convs = convolutions(every)
    kernel = max((step.tensors["weight"][1].shape[-1] for step in convs), default=1)
    found: Fields = {"shortcut_kernel": kernel} if kernel > 1 else {}
    if pools := [_ANTIALIAS[step.kind] for step in every if step.kind in _ANTIALIAS]:
        found["shortcut_pool"] = _usual(pools)
    normed = any(step.kind in _NORMS for block in parts.blocks for step in steps(block.body))
    bare = not any(step.kind in _NORMS or (not normed and "bias" in step.tensors) for step in every)
    if convs and not parts.preactivation and bare:  # nor was a norm folded into a bias
        found["shortcut_norm"] = False
    return found


def _norm(every: Sequence[Step]) -> Fields:
    norms = [step for step in every if step.kind in _NORMS]
    if not norms:
        return {}
    found: Fields = {"norm": _usual([_NORMS[step.kind] for step in norms])}
    found["norm_epsilon"] = _usual([step.numbers["epsilon"] for step in norms])
    if found["norm"] == "group":
        groups = [step.numbers["groups"] for step in norms if step.kind == "group norm"]
        if len(set(groups)) == 1:
            found["norm_groups"] = groups[0]
        else:
            found["norm_group_channels"] = len(norms[0].tensors["weight"][1]) // groups[0]
    return found


def _stem(parts: Parts) -> Fields:
    convs = convolutions(parts.stem)
    if not convs:
        first = parts.bodies[0][0]
        return {"stem": False, "in_channels": first.tensors["weight"][1].shape[1] * first.numbers["groups"]}
    if len(convs) > 4:
        raise WeightsError(f"its stem has {len(convs)} convolutions; expected one, or three, and one for a pool")
    main, behind = (convs[:3], convs[3:]) if len(convs) > 2 else (convs[:1], convs[1:])
    weight = main[0].tensors["weight"][1]
    widths = [step.tensors["weight"][1].shape[0] for step in main]
    found: Fields = {
        "stem_kernel": weight.shape[-1],
        "in_channels": weight.shape[1],
        "stem_channels": widths[-1],
        "stem_stride": main[0].numbers["stride"][0],
    }
    if len(main) == 3:
        found["stem_type"] = "deep" if widths[0] == widths[1] else "tiered"
    return found | _stem_pool(parts.stem, main, behind)


def _stem_pool(stem: Sequence[Item], main: Sequence[Step], behind: Sequence[Step]) -> Fields:
    every = [*steps(stem)]
    maxima, others = ([step for step in every if step.kind in kinds] for kinds in (("max",), tuple(_ANTIALIAS)))
    pools = [*behind, *maxima, *others]
    if not pools:
        stride = main[-1].numbers["stride"][0]
        return {"stem_pool": "stride", "stem_pool_stride": stride} if stride > 1 < len(main) else {"stem_pool": "none"}
    found: Fields = {"stem_pool": "conv" if behind else "max", "stem_pool_stride": _stride(pools)}
    if behind:
        return {**found, "stem_pool_kernel": behind[0].tensors["weight"][1].shape[-1]}
    if not maxima:  # an average takes its place
        return found
    zeros = any(is_step(item, "pad") for item in every[every.index(main[-1]) :])
    same = maxima[0].numbers["ceil"] or _uneven(maxima[0])
    padding = "zeros" if zeros else "same" if same else "symmetric"
    return {**found, "stem_pool_kernel": maxima[0].numbers["kernel"][0], "stem_pool_padding": padding}


def _stages(parts: Parts) -> list[Fields]:
    """Depths, widths and strides; a stage begins where the width of a block's output changes, or also at a stride."""
    outs = [body[-1].tensors["weight"][1].shape[0] for body in parts.bodies]
    strides = [_stride([*steps(block.body)]) for block in parts.blocks]
    widens = [place for place in range(len(outs)) if place == 0 or outs[place] != outs[place - 1]]
    strided = [place for place in range(len(outs)) if place in widens or strides[place] > 1]
    # The block that widens has the stride too; or not, and then the last one of a stage has it.
    last = any(strides[place] == 1 for place in widens[1:])
    ways = [widens, strided] if last else [strided, widens]
    return [_staged(parts, starts, strides) for starts in ways[: 1 if strided == widens else 2]]


def _staged(parts: Parts, starts: list[int], strides: list[int]) -> Fields:
    bodies = parts.bodies
    block = "basic" if len(bodies[0]) == 2 else "bottleneck"
    outs, inner, narrow = ([bodies[at][place].tensors["weight"][1].shape[0] for at in starts] for place in (-1, -2, 0))
    expansion = EXPANSION[block]
    if block == "basic" or any(out % expansion for out in outs):
        expansion = gcd(*(out // own for out, own in zip(outs, inner, strict=True))) or 1
    channels = [out // expansion for out in outs]
    staged = [strides[start:end] for start, end in zip(starts, [*starts[1:], len(bodies)], strict=True)]
    found: Fields = {
        "block": block,
        "depths": [len(stage) for stage in staged],
        "channels": channels,
        "strides": [prod(stage) for stage in staged],
        **({"expansion": expansion} if expansion != EXPANSION[block] else {}),
        **_groups([bodies[at][-2] for at in starts], inner, channels),
    }
    if any(stage[0] == 1 and stage[-1] > 1 for stage in staged):
        found["stride_unit"] = "last"
    if block == "bottleneck" and _strides_first(parts):
        found["stride_on"] = "1x1"
    if block == "bottleneck" and inner[0] > narrow[0]:
        found["reduce_first"] = inner[0] // narrow[0]
    return found


def _groups(grouped: Sequence[Step], inner: Sequence[int], channels: Sequence[int]) -> Fields:
    groups = {step.numbers["groups"] for step in grouped}
    if len(groups) > 1:
        own = {"group_channels": inner[0] // grouped[0].numbers["groups"]}
        return {**own, "width_per_group": inner[0] * 64 // channels[0]}
    return {"groups": grouped[0].numbers["groups"], "width_per_group": inner[0] * 64 // (channels[0] * groups.pop())}


def _strides_first(parts: Parts) -> bool:
    """Whether the stride is that of a block's first convolution, or of a pool right behind it."""
    for block in parts.blocks:
        convs = 0
        for step in steps(block.body):
            convs += step.kind == "conv"
            if _stride([step]) > 1:
                return convs == 1
    return False


def _stride(every: Sequence[Step]) -> int:
    return prod(step.numbers["stride"][0] for step in every if "stride" in step.numbers)


def _attention(parts: Parts) -> Fields:
    """The gates' kind and place, and of their inner widths the rule that most of them have."""
    found = gates(parts)
    if not found:
        return {}
    body = parts.blocks[0].body
    inner = any(isinstance(item, Gate) and convolutions(body[place:]) for place, item in enumerate(body))
    place = {"attention_place": "inner" if inner else "last"}
    if any(step.kind == "channel conv" for gate in found for step in gate.body):
        return {"attention": "eca", **place}
    layers = [[step for step in gate.body if step.kind == "linear"] for gate in found]
    shapes = [each[0].tensors["weight"][1].shape for each in layers if each]
    if not shapes:
        raise WeightsError(f"{found[0].name} is a gate without a linear layer or a convolution of channels")
    # Rounded to whole numbers, every width leaves a range to the ratio.
    low, high = max((width - 0.5) / own for width, own in shapes), min((width + 0.5) / own for width, own in shapes)
    rules: list[Fields] = [*SQUEEZES, {"attention_ratio": min(1.0, (low + high) / 2), "attention_divisor": 1}]
    usual: Fields = max(rules, key=lambda rule: _fitting(rule, shapes))
    return {"attention": "se", **place, **usual}


def _fitting(rule: Fields, shapes: Sequence[tuple[int, ...]]) -> int:
    """How many of the gates have the inner width that this rule gives."""
    spec = from_fields({"depths": [1], "channels": [1], "block": "basic", **rule})
    return sum(spec.squeezed_width(channels) == width for width, channels in shapes)


def _biases(parts: Parts) -> list[str]:
    """The places where a convolution has a bias beside its norm."""
    bodies = parts.bodies
    places = {
        "stem": convolutions(parts.stem)[-1:],  # into the others a norm may be folded
        "inner": [step for body in bodies for step in body[:-1]],
        "last": [body[-1] for body in bodies],
        "shortcut": [step for block in parts.blocks for step in convolutions(block.shortcut)],
    }
    return [place for place, own in places.items() if any("bias" in step.tensors for step in own)]


def _head(parts: Parts) -> Fields:
    every = [*steps(parts.tail)]
    convs, pool = convolutions(every), next((step for step in every if step.kind in _HEAD_POOLS), None)
    linear = next((step for step in every if step.kind == "linear"), None)
    found: Fields = {}
    if pool is None:
        found["global_pool"] = False
        linear = convs.pop() if convs and every[-1] is convs[-1] else None
    else:
        found["head_pool"] = _HEAD_POOLS[pool.kind]
    if convs:
        found["head_channels"] = convs[0].tensors["weight"][1].shape[0]
    if linear is None:
        return {**found, "classes": None}
    return {**found, "classes": linear.tensors["weight"][1].shape[0], "head_bias": "bias" in linear.tensors}


def _uneven(step: Step) -> bool:
    pads = step.numbers["pads"]
    return pads == "same" or any(before != after for before, after in pads)


def _usual(values: Sequence[Any]) -> Any:
    """The most frequent; where a layer has another, its node is named when it is compared."""
    return Counter(values).most_common(1)[0][0]
