"""Random legal specs over the whole space of fields, small enough for every backend to run them in no time.

Legal by construction: widths are multiples of what groups and width_per_group ask for, an output stride is one
that the running stride reaches, option A never meets shrinking channels. Few draws are thrown away.
"""

from __future__ import annotations

from itertools import accumulate
from math import gcd, lcm
from operator import mul
from typing import Any, get_args, get_type_hints

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from resnet_core import ResNetSpec
from resnet_core.combinations import STEM_MULTIPLES
from resnet_core.specification import EXPANSION, to_fields

SHORTCUTS = ["projection", "projection_first", "projection_all", "subsample", "subsample", "pad", "pad", "none"]
hints = get_type_hints(ResNetSpec)
BIAS_PLACES = ("stem", "inner", "last", "shortcut")


@st.composite
def specs(draw: st.DrawFn) -> ResNetSpec:
    """A legal spec of 1 to 4 stages with 1 or 2 blocks each."""
    stages = draw(st.integers(1, 4))
    fields: dict[str, Any] = {
        "depths": tuple(draw(st.integers(1, 2)) for _ in range(stages)),
        "block": draw(st.sampled_from(["basic", "bottleneck"])),
        "classes": draw(st.none() | st.integers(1, 11)),
        "stem": draw(st.sampled_from([True, True, True, False])),
        "stem_kernel": draw(st.integers(1, 8)),
        "stem_stride": draw(st.integers(1, 3)),
        "stem_type": draw(st.sampled_from(["conv", "conv", "deep", "tiered"])),
        "stem_pool": draw(st.sampled_from(["max", "max", "none", "none", "conv", "stride"])),
        "stem_pool_kernel": draw(st.sampled_from([3, 3, 2, 5])),
        "stem_pool_stride": draw(st.sampled_from([2, 2, 1, 3])),
        "stem_pool_padding": draw(st.sampled_from(["symmetric", "same", "zeros"])),
        "preactivation": draw(st.booleans()),
        "groups": draw(st.sampled_from([1, 1, 1, 2, 3, 4])),
        "width_per_group": draw(st.sampled_from([64, 64, 64, 16, 32, 96, 128])),
        "conv_bias": tuple(place for place in BIAS_PLACES if draw(st.booleans())),
        "strides": draw(st.none() | st.tuples(*[st.integers(1, 3)] * stages)),
        "stride_unit": draw(st.sampled_from(["first", "last"])),
        "shortcut": draw(st.sampled_from(SHORTCUTS)),
        "shortcut_pool": draw(st.sampled_from(["none", "none", "average", "blur"])),
        "shortcut_kernel": draw(st.sampled_from([1, 1, 3])),
        "shortcut_norm": draw(st.sampled_from([None, True, False])),
        "antialias": draw(st.sampled_from(["none", "none", "none", "average", "blur"])),
        "attention": draw(st.sampled_from(["none", "none", "se", "eca"])),
        "attention_place": draw(st.sampled_from(["last", "inner"])),
        "attention_ratio": draw(st.sampled_from([1 / 16, 0.25, 1.0])),
        "attention_divisor": draw(st.sampled_from([8, 1, 3])),
        "activation": draw(st.sampled_from(["relu", "relu", "relu", *get_args(hints["activation"])])),
        "norm": draw(st.sampled_from(["batch", "batch", "batch", *get_args(hints["norm"])])),
        "norm_groups": draw(st.sampled_from([32, 1, 2])),
        "norm_group_channels": draw(st.sampled_from([None, 1, 2])),
        "standardize_weights": draw(st.sampled_from([False, False, True])),
        "expansion": draw(st.sampled_from([None, None, 1, 2, 3])),
        "group_channels": draw(st.sampled_from([None, None, 1])),
        "conv_padding": draw(st.sampled_from(["symmetric", "symmetric", "same"])),
        "reduce_first": draw(st.sampled_from([1, 1, 2])),
        "head_channels": draw(st.sampled_from([None, None, 4, 6])),
        "head_pool": draw(st.sampled_from(["average", "average", "max", "both"])),
        "head_bias": draw(st.booleans()),
        "deploy": draw(st.sampled_from([False, False, False, True])),
        "dropout": draw(st.sampled_from([0.0, 0.5])),
        "drop_path": draw(st.sampled_from([0.0, 0.0, 0.25])),
        "drop_path_rule": draw(st.sampled_from(["linear", "uniform"])),
        "global_pool": draw(st.booleans()),
        "norm_epsilon": draw(st.sampled_from([1e-5, 1e-3]) | st.floats(1e-6, 1.0)),
        "norm_decay": draw(st.sampled_from([0.9, 0.997, 0.0]) | st.floats(0.0, 0.999)),
        "initializer": draw(st.sampled_from(["torchvision", "he", "slim", "xavier"])),
        "zero_init_residual": draw(st.booleans()),
    }
    fields["stride_on"] = draw(st.sampled_from(["3x3", "1x1"])) if fields["block"] == "bottleneck" else "3x3"
    _make_legal(fields, stages)
    fields |= _widths(draw, fields, stages)
    smallest = smallest_size(fields)
    fields["input_size"] = draw(st.tuples(st.integers(smallest, 40), st.integers(smallest, 40)))
    reached = [] if fields["conv_padding"] == "same" else _reachable_strides(fields, stages)
    fields["output_stride"] = draw(st.sampled_from([None, *reached]))
    return ResNetSpec(**fields)


def sizes(spec: ResNetSpec, smallest: int = 2) -> SearchStrategy[tuple[int, int]]:
    """(height, width) of small images that the network accepts: odd, even, mixed, mostly not square."""
    smallest = max(smallest, smallest_size(to_fields(spec)))
    side = st.integers(smallest, max(smallest + 1, 36))
    return st.tuples(side, side)


def smallest_size(fields: dict[str, Any]) -> int:
    """Two pixels pass every window, but for those that are reflected and pools of an even size, one after another."""
    if "blur" in (fields["antialias"], fields["shortcut_pool"]):
        return 12
    # An even kernel's padding is one short. The stem's kernel and its pool's may both be even.
    even = fields["stem"] and fields["stem_pool"] in ("max", "conv") and fields["stem_pool_kernel"] % 2 == 0
    return 8 if even else 2


def _make_legal(fields: dict[str, Any], stages: int) -> None:
    """What does not go together (`resnet_core.combinations`) is given up, one of the two."""
    basic, preactivation, plain = fields["block"] == "basic", fields["preactivation"], fields["shortcut"] == "none"
    if fields["stem_type"] != "conv":
        fields["stem_kernel"] = 3
    if fields["groups"] > 1 or basic:
        fields["group_channels"] = None
    if fields["group_channels"] is not None:
        fields["reduce_first"] = 1
    if basic:
        fields |= {"reduce_first": 1, "attention_place": "last"}
    if preactivation:
        fields["antialias"] = "none"
        fields["norm"] = "batch" if fields["norm"] == "none" else fields["norm"]
    if fields["norm"] == "none":
        fields["shortcut_norm"] = None
    if fields["norm"] == "frozen" or plain:
        fields["zero_init_residual"] = False
    if plain:
        fields |= {"drop_path": 0.0, "shortcut_pool": "none"}
    if fields["shortcut"] in ("pad", "none") or fields["shortcut_pool"] != "none":
        fields["shortcut_kernel"] = 1
    if not fields["global_pool"]:
        fields["head_pool"] = "average"
    if "blur" in (fields["antialias"], fields["shortcut_pool"]):  # a map of one pixel cannot be reflected
        fields |= {"stem_stride": 1, "stem_pool_stride": 2, "strides": (1, 2, 1, 1)[:stages]}


def _widths(draw: st.DrawFn, fields: dict[str, Any], stages: int) -> dict[str, Any]:
    groups, per_group = fields["groups"], fields["width_per_group"]
    # A norm has groups of 1 or 2 channels, or 1 or 2 groups.
    pair = 2 if fields["norm"] == "group" else 1
    parts = 64 * pair * fields["reduce_first"]
    step = lcm(groups, pair, parts // gcd(parts, per_group))
    fields["norm_groups"] = min(pair, fields["norm_groups"]) if pair == 2 else fields["norm_groups"]
    channels = [step * draw(st.integers(1, max(1, 9 // step))) for _ in range(stages)]
    # A basic block's first convolution is grouped, so that what enters the first stage is a multiple too.
    entry_step = groups if fields["block"] == "basic" else 1
    entry_step = lcm(entry_step, STEM_MULTIPLES[fields["stem_type"]] if fields["stem"] else 1)
    if fields["norm"] == "group":
        entry_step = lcm(entry_step, 16 if fields["stem_type"] == "tiered" else 4)
    entry = entry_step * draw(st.integers(1, max(1, 7 // entry_step)))
    if fields["shortcut"] == "pad":
        channels.sort()
        expansion = EXPANSION[fields["block"]] if fields["expansion"] is None else fields["expansion"]
        while channels[0] * expansion < entry_step:  # the entry may not be wider than the first stage
            channels = [width + step for width in channels]
        entry = min(entry, channels[0] * expansion // entry_step * entry_step)
    widths: dict[str, Any] = {"channels": tuple(channels)}
    if fields["stem"]:
        usual = None if channels[0] % entry_step == 0 else entry
        stem_channels = draw(st.sampled_from([usual, entry]))
        return widths | {"stem_channels": stem_channels, "in_channels": draw(st.integers(1, 4))}
    return widths | {"in_channels": entry}


def _reachable_strides(fields: dict[str, Any], stages: int) -> list[int]:
    pooled = 1 if fields["stem_pool"] == "none" else fields["stem_pool_stride"]
    start = fields["stem_stride"] * pooled if fields["stem"] else 1
    usual = [2] * (stages - 1)
    strides = fields["strides"] or ([1, *usual] if fields["stride_unit"] == "first" else [*usual, 1])
    return sorted(set(accumulate([start, *strides], mul)))
