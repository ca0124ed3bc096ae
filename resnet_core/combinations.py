"""Which fields of a spec do not go together, as data: one rule a line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

#: {stem_type: what the stem's channels are a multiple of}, so that those of its first convolutions are whole.
STEM_MULTIPLES = {"conv": 1, "deep": 2, "tiered": 8}


class Rule(NamedTuple):
    """A field whose value is illegal where `broken` says so, and what is allowed there."""

    field: str
    broken: Callable[[Any], bool]  #: of a ResNetSpec, which imports this module
    allowed: str


RULES = (
    Rule(
        "stride_on",
        lambda spec: spec.stride_on == "1x1" and spec.block == "basic",
        'only "3x3" with block = "basic", which has no 1x1 convolution',
    ),
    Rule(
        "reduce_first",
        lambda spec: spec.reduce_first != 1 and spec.block == "basic",
        'only 1 with block = "basic", whose first convolution is the 3x3',
    ),
    Rule(
        "group_channels",
        lambda spec: spec.group_channels is not None and (spec.block == "basic" or spec.groups > 1),
        'none with block = "basic", and with groups above 1',
    ),
    Rule(
        "conv_padding",  # the padding that a dense network would need depends on the size
        lambda spec: spec.conv_padding == "same" and spec.output_stride is not None,
        '"symmetric" with an output_stride',
    ),
    Rule(
        "attention_place",
        lambda spec: spec.attention_place == "inner" and spec.block == "basic",
        'only "last" with block = "basic"',
    ),
    Rule(
        "stem_kernel",
        lambda spec: spec.stem_type != "conv" and spec.stem_kernel != 3,
        '3 with a stem_type of "deep" or "tiered", which is three convolutions of 3x3',
    ),
    Rule(
        "stem_channels",
        lambda spec: spec.stem and spec.stem_width % STEM_MULTIPLES[spec.stem_type] != 0,
        'a multiple of 2 with stem_type = "deep", of 8 with "tiered"',
    ),
    Rule(
        "antialias",
        lambda spec: spec.antialias != "none" and spec.preactivation,
        'only "none" with preactivation = true',
    ),
    Rule(
        "norm",
        lambda spec: spec.norm == "none" and spec.preactivation,
        'not "none" with preactivation = true, whose blocks begin with a norm',
    ),
    Rule(
        "shortcut_norm",
        lambda spec: spec.shortcut_norm is True and spec.norm == "none",
        'false or none with norm = "none"',
    ),
    Rule(
        "zero_init_residual",
        lambda spec: spec.zero_init_residual and (spec.norm == "frozen" or spec.shortcut == "none"),
        'false with norm = "frozen", whose scale does not learn, and with shortcut = "none", which has no residual',
    ),
    Rule(
        "drop_path",
        lambda spec: spec.drop_path > 0 and spec.shortcut == "none",
        '0 with shortcut = "none": without a shortcut, nothing is left of a block that is skipped',
    ),
    Rule(
        "shortcut_kernel",
        lambda spec: spec.shortcut_kernel != 1 and (spec.shortcut in ("pad", "none") or spec.shortcut_pool != "none"),
        'only 1 with shortcut = "pad" or "none", and with a shortcut_pool, which has the stride',
    ),
    Rule(
        "shortcut_pool",
        lambda spec: spec.shortcut_pool != "none" and spec.shortcut == "none",
        'only "none" with shortcut = "none"',
    ),
    Rule(
        "head_pool",
        lambda spec: spec.head_pool != "average" and not spec.global_pool,
        'only "average" with global_pool = false',
    ),
)
