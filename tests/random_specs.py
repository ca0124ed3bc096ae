"""Random legal specs over the whole space of fields, small enough for every backend to run them in no time.

Legal by construction: widths are multiples of what groups and width_per_group ask for, an output stride is one
that the running stride reaches, option A never meets shrinking channels. Few draws are thrown away.
"""

from __future__ import annotations

from itertools import accumulate
from math import gcd, lcm
from operator import mul
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from resnet_core import ResNetSpec
from resnet_core.specification import EXPANSION

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
        "stem_pool": draw(st.sampled_from(["max", "none"])),
        "stem_pool_padding": draw(st.sampled_from(["symmetric", "same", "zeros"])),
        "preactivation": draw(st.booleans()),
        "groups": draw(st.sampled_from([1, 1, 1, 2, 3, 4])),
        "width_per_group": draw(st.sampled_from([64, 64, 64, 16, 32, 96, 128])),
        "conv_bias": tuple(place for place in BIAS_PLACES if draw(st.booleans())),
        "strides": draw(st.none() | st.tuples(*[st.integers(1, 3)] * stages)),
        "stride_unit": draw(st.sampled_from(["first", "last"])),
        "shortcut": draw(st.sampled_from(["projection", "projection_all", "subsample", "pad"])),
        "shortcut_norm": draw(st.sampled_from([None, True, False])),
        "global_pool": draw(st.booleans()),
        "norm_epsilon": draw(st.sampled_from([1e-5, 1e-3]) | st.floats(1e-6, 1.0)),
        "norm_decay": draw(st.sampled_from([0.9, 0.997, 0.0]) | st.floats(0.0, 0.999)),
        "initializer": draw(st.sampled_from(["torchvision", "he", "slim", "xavier"])),
        "zero_init_residual": draw(st.booleans()),
    }
    fields["stride_on"] = draw(st.sampled_from(["3x3", "1x1"])) if fields["block"] == "bottleneck" else "3x3"
    fields |= _widths(draw, fields, stages)
    fields["input_size"] = draw(st.tuples(st.integers(2, 40), st.integers(2, 40)))
    fields["output_stride"] = draw(st.none() | st.sampled_from(_reachable_strides(fields, stages)))
    return ResNetSpec(**fields)


def sizes(spec: ResNetSpec, smallest: int = 2) -> SearchStrategy[tuple[int, int]]:
    """(height, width) of small images that the network accepts: odd, even, mixed, mostly not square."""
    # Two pixels pass every window but an even stem kernel's, whose padding is one short: they pass that as well.
    side = st.integers(smallest, max(smallest + 1, 36))
    return st.tuples(side, side)


def _widths(draw: st.DrawFn, fields: dict[str, Any], stages: int) -> dict[str, Any]:
    groups, per_group = fields["groups"], fields["width_per_group"]
    step = lcm(groups, 64 // gcd(64, per_group))
    channels = [step * draw(st.integers(1, max(1, 9 // step))) for _ in range(stages)]
    # A basic block's first convolution is grouped, so that what enters the first stage is a multiple too.
    entry_step = groups if fields["block"] == "basic" else 1
    entry = entry_step * draw(st.integers(1, max(1, 7 // entry_step)))
    if fields["shortcut"] == "pad":
        channels.sort()
        entry = min(entry, channels[0] * EXPANSION[fields["block"]] // entry_step * entry_step)
    widths: dict[str, Any] = {"channels": tuple(channels)}
    if fields["stem"]:
        stem_channels = draw(st.sampled_from([None, entry]))
        return widths | {"stem_channels": stem_channels, "in_channels": draw(st.integers(1, 4))}
    return widths | {"in_channels": entry}


def _reachable_strides(fields: dict[str, Any], stages: int) -> list[int]:
    start = fields["stem_stride"] * (2 if fields["stem_pool"] == "max" else 1) if fields["stem"] else 1
    usual = [2] * (stages - 1)
    strides = fields["strides"] or ([1, *usual] if fields["stride_unit"] == "first" else [*usual, 1])
    return sorted(set(accumulate([start, *strides], mul)))
