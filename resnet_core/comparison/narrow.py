"""A narrow network of the same kind: few channels, few blocks, a small image, every other field unchanged.

In float32 a gradient through ReLU does not depend continuously on rounding: a single flipped sign among millions
changes it by several percent. Among the few thousand activations of a narrow network a sign hardly ever flips, so
float32 can be held to a tight tolerance there, while the code under test is the same.
"""

from __future__ import annotations

from math import gcd, lcm, prod

from resnet_core.combinations import STEM_MULTIPLES
from resnet_core.specification import ResNetSpec, from_fields, to_fields

#: Channels of the narrowest stage, unless groups need more; the next wider one has twice as many, and so on.
CHANNELS = 8

#: Groups of a grouped convolution: more than two, so that a reversed order is detected.
GROUPS = 4


def narrowed(spec: ResNetSpec) -> ResNetSpec:
    """A valid spec that differs only in `depths`, widths, groups, `input_size` and the first stage's input.

    Widths keep their order, and equal ones stay equal, so every block has the same kind of shortcut as the block it
    represents. No number is larger than in the given spec.
    """
    groups = next((number for number in range(GROUPS, spec.groups) if spec.groups % number == 0), spec.groups)
    group_channels, normalized = _groups_of_convolutions(spec), _groups_of_norms(spec)
    # Every width of the network is whole, and has whole groups, if `channels` are a multiple of `step`.
    inner = lcm(spec.reduce_first * normalized, group_channels or 1)
    stem = lcm(groups, STEM_MULTIPLES[spec.stem_type] * normalized)
    step = lcm(stem, 64 * inner // gcd(64 * inner, spec.width_per_group))
    unit = step * -(-max(CHANNELS, 2 * stem) // step)
    ranks = {width: rank for rank, width in enumerate(sorted(set(spec.channels)), start=1)}
    channels = [min(width, unit * ranks[width]) for width in spec.channels]

    # The first stage's input width stays below, at or above its output width.
    before, after = spec.stem_width, spec.output_width(spec.channels[0])
    narrow_after = spec.output_width(channels[0])
    if before == after:
        entry = narrow_after
    else:
        entry = min(before, unit // 2 // stem * stem if before < after else -(-(narrow_after + 1) // stem) * stem)

    # One block per stage, and two in one of them: a block that widens or strides, and one that does not.
    deep = next((stage for stage, depth in enumerate(spec.depths) if depth > 1), None)

    # The last stage's map has 3 x 2 pixels, or more if strides have become dilation.
    total_stride = spec.stem_total_stride * prod(spec.stage_strides)
    height, width = spec.input_size
    fields = {
        **to_fields(spec),
        "depths": [2 if stage == deep else 1 for stage in range(len(spec.depths))],
        "channels": channels,
        "groups": groups,
        "group_channels": group_channels,
        "head_channels": None if spec.head_channels is None else min(spec.head_channels, unit),
        "input_size": [min(height, 2 * total_stride + 1), min(width, max(2, 2 * total_stride))],
    }
    if spec.norm == "group":
        fields["norm_groups" if spec.norm_group_channels is None else "norm_group_channels"] = normalized
    if not spec.stem:
        fields["in_channels"] = entry
    elif spec.stem_channels is not None:
        fields["stem_channels"] = entry
    return from_fields(fields)


def _groups_of_convolutions(spec: ResNetSpec) -> int | None:
    """Channels of each group: two or so, and whole ones in a bottleneck's narrower first convolution."""
    if spec.group_channels is None:
        return None
    divisors = range(max(2, spec.reduce_first), spec.group_channels)
    whole = (n for n in divisors if spec.group_channels % n == 0 and n % spec.reduce_first == 0)
    return next(whole, spec.group_channels)


def _groups_of_norms(spec: ResNetSpec) -> int:
    """Groups of a group norm, or the channels of each: as few as divide what it has."""
    if spec.norm != "group":
        return 1
    given = spec.norm_groups if spec.norm_group_channels is None else spec.norm_group_channels
    return next((n for n in range(2, given) if given % n == 0), given)
