"""ResNetSpec: a ResNet as a user describes it, without anything that depends on a framework.

`depths`, `channels` and `block` are required; every other field has the usual default. Sources of the
terms: He et al. 2015 (arXiv:1512.03385), He et al. 2016 (arXiv:1603.05027, pre-activation), Xie et al.
2017 (arXiv:1611.05431, groups), Zagoruyko and Komodakis 2016 (arXiv:1605.07146, width), He et al. 2018
(arXiv:1812.01187, deep stems and average-pool shortcuts), Hu et al. 2017 (arXiv:1709.01507, `attention = "se"`),
Wang et al. 2019 (arXiv:1910.03151, "eca"), Zhang 2019 (arXiv:1904.11486, `antialias`), Huang et al. 2016
(arXiv:1603.09382, `drop_path`), Kolesnikov et al. 2019 (arXiv:1912.11370, group norm, standardized weights).
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from operator import mul
from typing import Annotated, Any, Literal, NamedTuple, NoReturn

from msgspec import Meta, Struct
from msgspec.structs import force_setattr

from resnet_core.bounds import (
    MOST_BLOCKS,
    MOST_MAP,
    MOST_NAME,
    MOST_STAGES,
    MOST_VALUES,
    map_values,
    tensor_values,
)
from resnet_core.combinations import RULES
from resnet_core.errors import SpecError
from resnet_core.fields import convert_fields, plain_fields, refuse, represent, require_characters, require_known, show
from resnet_core.padding import output_size, symmetric

Depth = Annotated[int, Meta(ge=1, le=10_000)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Size = Annotated[int, Meta(ge=1, le=100_000)]
Stride = Annotated[int, Meta(ge=1, le=64)]
BiasPlace = Literal["stem", "inner", "last", "shortcut"]

#: A bottleneck's output has this many times its inner channels (He et al. 2015, section 4.1).
EXPANSION = {"basic": 1, "bottleneck": 4}

#: What each field means and allows; every error message about a field quotes it.
FIELDS: dict[str, str] = {
    "name": f"text of at most {MOST_NAME} characters",
    "depths": "a list of integers from 1, the number of blocks of each stage",
    "channels": "a list of integers from 1, the width of each stage before a bottleneck's expansion",
    "block": '"basic" or "bottleneck"',
    "expansion": "an integer from 1, or none for the usual (4 for bottlenecks, 1 for basic blocks)",
    "classes": "an integer from 1, or none for features",
    "in_channels": "an integer from 1",
    "input_size": "one integer from 1, or [height, width]",
    "stem": "true or false (false leaves the root block out)",
    "stem_type": '"conv", "deep" (three 3x3, the first two half as wide) or "tiered" (three 3x3 that widen)',
    "stem_channels": "an integer from 1, or none for the first stage's channels",
    "stem_kernel": "an integer from 1",
    "stem_stride": "an integer from 1 to 64",
    "stem_pool": '"max", "conv" (one more, with norm and activation), "stride" (of the last convolution) or "none"',
    "stem_pool_kernel": "an odd integer from 1",
    "stem_pool_stride": "an integer from 1 to 64",
    "stem_pool_padding": '"symmetric" (minus infinity), "same" (TensorFlow\'s) or "zeros"',
    "preactivation": "true or false",
    "groups": "an integer from 1 that divides every stage's channels",
    "group_channels": "an integer from 1, the channels of each group of a 3x3, or none for groups",
    "width_per_group": "an integer from 1; each group is channels * width_per_group / 64 wide",
    "reduce_first": "an integer from 1; a bottleneck's first convolution is so many times narrower than its second",
    "conv_bias": 'a list of places that get a bias: "stem", "inner", "last" (of a block), "shortcut"',
    "conv_padding": '"symmetric" or "same" (TensorFlow\'s, in the blocks)',
    "strides": "a list of integers from 1 to 64, one per stage, or none for the usual",
    "stride_unit": '"first" or "last" (which block of a stage has the stride)',
    "stride_on": '"3x3" or "1x1" (which convolution of a block, the first of its kind, has the stride)',
    "output_stride": "an integer that the running stride reaches, or none; later strides become dilation",
    "shortcut": '"projection", "projection_first" (of each stage), "projection_all", "subsample", "pad" or "none"',
    "shortcut_kernel": "1, or 3 for a strided projection of 3x3",
    "shortcut_pool": '"none", "average" or "blur" (a pool that has the stride of the shortcut)',
    "shortcut_norm": "true, false, or none for the usual (a norm unless pre-activation)",
    "antialias": '"none", "blur" or "average" (a pool that has the stride of a block and of the stem\'s pool)',
    "attention": '"none", "se" (squeeze-and-excitation) or "eca"',
    "attention_place": '"last" (at the end of a block) or "inner" (behind the 3x3 of a bottleneck)',
    "attention_ratio": "a number above 0 and up to 1: the inner width of squeeze-and-excitation by its channels",
    "attention_divisor": "an integer from 1; that inner width is rounded to a multiple of it",
    "activation": '"relu", "relu6", "leaky_relu", "silu", "gelu", "gelu_tanh", "hardswish" or "none"',
    "norm": '"batch", "group", "layer" (over the channels of a position), "frozen" or "none" (then with biases)',
    "norm_groups": "an integer from 1 that divides every normalized width, the number of groups of a group norm",
    "norm_group_channels": "an integer from 1, the channels of each group of a group norm, or none for norm_groups",
    "norm_epsilon": "a number above 0 and up to 1",
    "norm_decay": "a number from 0 and below 1, the weight of the OLD running value",
    "standardize_weights": "true or false (kernels with mean 0 and variance 1 in each output channel)",
    "head_channels": "an integer from 1, the width of a 1x1 convolution with norm and activation, or none",
    "head_pool": '"average", "max" or "both" (average, then maximum: twice the channels)',
    "head_bias": "true or false",
    "global_pool": "true or false (false predicts at every position)",
    "dropout": "a number from 0 and below 1, the share of the features that is dropped before the last layer",
    "drop_path": "a number from 0 and below 1, the share of the images whose block is skipped in training",
    "drop_path_rule": '"linear" (0 in the first block, drop_path in the last) or "uniform"',
    "deploy": "true or false (true is for inference: norms are folded into convolutions)",
    "initializer": '"torchvision", "he", "slim" or "xavier"',
    "zero_init_residual": "true or false (each block starts as its shortcut)",
}

#: Fields that may be None, written "none" in formats without null. (`stem_pool = "none"` stays the text "none".)
OPTIONAL = (
    "expansion", "classes", "stem_channels", "group_channels", "strides", "output_stride", "shortcut_norm",
    "norm_group_channels", "head_channels",
)  # fmt: skip


class BlockStride(NamedTuple):
    """Stride and dilation of one block, after `output_stride` has been applied."""

    stride: int  #: of its strided convolution and its shortcut: the nominal stride, or 1 if dilation replaces it
    nominal_stride: int  #: the stride without an output stride, which decides which tensors the block has
    dilation: int  #: of its convolutions up to and including the strided one
    dilation_after: int  #: of its convolutions after the strided one, and of the next block


class ResNetSpec(Struct, frozen=True, kw_only=True, omit_defaults=False):
    """An immutable, validated description of a ResNet. Equal specs compile to equal networks.

    `FIELDS` lists the allowed values. Raises SpecError, a one-line message with the field's path, the value
    received and the values allowed. Lists are accepted for tuples, and an integer for a square `input_size`.
    """

    name: Annotated[str, Meta(max_length=MOST_NAME)] = ""
    depths: tuple[Depth, ...]
    channels: tuple[Count, ...]
    block: Literal["basic", "bottleneck"]
    expansion: Count | None = None
    classes: Count | None = 1000
    in_channels: Count = 3
    input_size: tuple[Size, Size] = (224, 224)

    stem: bool = True
    stem_type: Literal["conv", "deep", "tiered"] = "conv"
    stem_channels: Count | None = None
    stem_kernel: Annotated[int, Meta(ge=1, le=1001)] = 7
    stem_stride: Stride = 2
    stem_pool: Literal["max", "conv", "stride", "none"] = "max"
    stem_pool_kernel: Annotated[int, Meta(ge=1, le=1001)] = 3
    stem_pool_stride: Stride = 2
    stem_pool_padding: Literal["symmetric", "same", "zeros"] = "symmetric"

    preactivation: bool = False
    groups: Count = 1
    group_channels: Count | None = None
    width_per_group: Count = 64
    reduce_first: Count = 1
    conv_bias: tuple[BiasPlace, ...] = ()

    conv_padding: Literal["symmetric", "same"] = "symmetric"
    strides: tuple[Stride, ...] | None = None
    stride_unit: Literal["first", "last"] = "first"
    stride_on: Literal["3x3", "1x1"] = "3x3"
    output_stride: Count | None = None

    shortcut: Literal["projection", "projection_first", "projection_all", "subsample", "pad", "none"] = "projection"
    shortcut_kernel: Literal[1, 3] = 1
    shortcut_pool: Literal["none", "average", "blur"] = "none"
    shortcut_norm: bool | None = None
    antialias: Literal["none", "blur", "average"] = "none"

    attention: Literal["none", "se", "eca"] = "none"
    attention_place: Literal["last", "inner"] = "last"
    attention_ratio: Annotated[float, Meta(gt=0, le=1)] = 1 / 16
    attention_divisor: Count = 8

    activation: Literal["relu", "relu6", "leaky_relu", "silu", "gelu", "gelu_tanh", "hardswish", "none"] = "relu"
    norm: Literal["batch", "group", "layer", "frozen", "none"] = "batch"
    norm_groups: Count = 32
    norm_group_channels: Count | None = None
    norm_epsilon: Annotated[float, Meta(gt=0, le=1)] = 1e-5
    norm_decay: Annotated[float, Meta(ge=0, lt=1)] = 0.9
    standardize_weights: bool = False

    head_channels: Count | None = None
    head_pool: Literal["average", "max", "both"] = "average"
    head_bias: bool = True
    global_pool: bool = True
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    drop_path: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    drop_path_rule: Literal["linear", "uniform"] = "linear"

    deploy: bool = False
    initializer: Literal["torchvision", "he", "slim", "xavier"] = "torchvision"
    zero_init_residual: bool = False

    def __post_init__(self) -> None:
        convert_fields(self, FIELDS, SpecError, sizes=("input_size",))
        require_characters("name", self.name, SpecError)
        # One canonical order, so that equal networks have equal specs.
        places = ("stem", "inner", "last", "shortcut")
        force_setattr(self, "conv_bias", tuple(place for place in places if place in self.conv_bias))
        if self.stem_type != "conv" and self.stem_kernel == 7:  # the default of the other type
            force_setattr(self, "stem_kernel", 3)
        _check_stages(self)
        _check_widths(self)
        _check_combinations(self)
        _check_bounds(self)

    def __repr__(self) -> str:
        return represent(self)

    # The optional fields, with their defaults resolved.

    @property
    def stage_strides(self) -> tuple[int, ...]:
        """One stride per stage; by default 1, 2, 2, … in the first unit, or 2, …, 2, 1 in the last (TF-slim)."""
        if self.strides is not None:
            return self.strides
        rest = (2,) * (len(self.depths) - 1)
        return (1, *rest) if self.stride_unit == "first" else (*rest, 1)

    @property
    def stem_width(self) -> int:
        """Channels that the first stage receives."""
        if not self.stem:
            return self.in_channels
        return self.channels[0] if self.stem_channels is None else self.stem_channels

    @property
    def stem_total_stride(self) -> int:
        """Input pixels per pixel of the first stage's input."""
        if not self.stem:
            return 1
        return self.stem_stride * (1 if self.stem_pool == "none" else self.stem_pool_stride)

    @property
    def stem_inner_widths(self) -> tuple[int, ...]:
        """Channels of the stem's convolutions before its last (timm's `deep` and `deep_tiered`)."""
        width = self.stem_width
        return {"conv": (), "deep": (width // 2,) * 2, "tiered": (width * 3 // 8, width // 2)}[self.stem_type]

    @property
    def has_shortcut_norm(self) -> bool:
        """Whether a projection shortcut is followed by a norm."""
        usual = not self.preactivation and self.norm != "none"
        return usual if self.shortcut_norm is None else self.shortcut_norm

    def inner_width(self, channels: int) -> int:
        """Width of a block's grouped convolution (torchvision's formula, without its rounding)."""
        return channels * self.width_per_group // 64 * self.groups

    def conv_groups(self, width: int) -> int:
        """Groups of a 3x3 convolution with so many output channels."""
        return self.groups if self.group_channels is None else width // self.group_channels

    def output_width(self, channels: int) -> int:
        """Output channels of a stage."""
        return channels * (EXPANSION[self.block] if self.expansion is None else self.expansion)

    def squeezed_width(self, channels: int) -> int:
        """Inner width of squeeze-and-excitation: a multiple of the divisor, at least one (timm's `make_divisible`)."""
        divisor = self.attention_divisor
        return max(divisor, int(channels * self.attention_ratio + divisor / 2) // divisor * divisor)

    def normalized_groups(self, channels: int) -> int:
        """Groups of a group norm of so many channels."""
        return self.norm_groups if self.norm_group_channels is None else channels // self.norm_group_channels

    def drop_path_rates(self) -> list[list[float]]:
        """The rate of every block of every stage."""
        blocks = sum(self.depths)
        if self.drop_path_rule == "uniform":
            rates = [self.drop_path] * blocks
        else:
            rates = [self.drop_path * block / max(1, blocks - 1) for block in range(blocks)]
        ends = list(accumulate(self.depths))
        return [rates[end - depth : end] for depth, end in zip(self.depths, ends, strict=True)]

    def block_strides(self) -> list[list[BlockStride]]:
        """Stride and dilation of every block of every stage.

        Once `output_stride` is reached, strides become dilation, so that every k-th pixel of the dense network,
        starting with the first, equals the network without an output stride. The convolution that loses its
        stride reads the same map as before, at the old rate; everything after it reads a denser map and takes
        the new rate at once, even within the block (timm's `first_dilation` and `dilation`). TF-slim's
        `stack_blocks_dense` and torchvision's `replace_stride_with_dilation` use only the old rate in a block.
        The results agree, because they dilate only bottlenecks with the stride on the 3x3, which is followed
        only by a 1x1.
        """
        current, rate, stages = self.stem_total_stride, 1, []
        for depth, stage_stride in zip(self.depths, self.stage_strides, strict=True):
            strided = 0 if self.stride_unit == "first" else depth - 1
            stage = []
            for block in range(depth):
                nominal = stage_stride if block == strided else 1
                stride = 1 if current == self.output_stride else nominal
                stage.append(BlockStride(stride, nominal, rate, rate * nominal // stride))
                current *= stride
                rate = stage[-1].dilation_after
            stages.append(stage)
        if self.output_stride is not None and current != self.output_stride:
            reached = sorted(set(accumulate((self.stem_total_stride, *self.stage_strides), mul)))
            fail("output_stride", self.output_stride, f"one that the running stride takes ({show(reached)}), or none")
        return stages


def from_fields(fields: dict[str, Any]) -> ResNetSpec:
    """The spec with the given fields, as read from a file. Raises SpecError."""
    require_known(fields, FIELDS, ("depths", "channels", "block"), SpecError)
    return ResNetSpec(**fields)


def to_fields(spec: ResNetSpec) -> dict[str, Any]:
    """Every field of the spec, with lists for tuples, as written to a file."""
    return plain_fields(spec)


def fail(field: str, received: object, allowed: str | None = None) -> NoReturn:
    """Raise the SpecError for a field's value."""
    refuse(field, received, allowed or FIELDS[field.split("[")[0]], SpecError)


def _check_stages(spec: ResNetSpec) -> None:
    if not spec.depths:
        fail("depths", spec.depths)
    if len(spec.depths) > MOST_STAGES or sum(spec.depths) > MOST_BLOCKS:
        received = f"{sum(spec.depths):,} blocks in {len(spec.depths):,} stages"
        raise SpecError(f"depths: received {received}; allowed is at most {MOST_BLOCKS:,} in {MOST_STAGES}")
    if len(spec.channels) != len(spec.depths):
        fail(
            "channels",
            spec.channels,
            f"one width per stage, and depths has {len(spec.depths)} stages while channels has {len(spec.channels)}",
        )
    if spec.strides is not None and len(spec.strides) != len(spec.depths):
        fail("strides", spec.strides, f"one stride per stage, and depths has {len(spec.depths)} stages")
    spec.block_strides()  # raises for an output stride that is never reached


def _check_widths(spec: ResNetSpec) -> None:
    for index, channels in enumerate(spec.channels):
        if channels % spec.groups:
            fail(f"channels[{index}]", channels, f"a multiple of groups = {spec.groups}")
        if channels * spec.width_per_group % 64:
            fail(
                f"channels[{index}]",
                channels,
                f"a width that makes channels * width_per_group / 64 whole (width_per_group = {spec.width_per_group})",
            )
        inner = spec.inner_width(channels)
        if spec.group_channels is not None and inner % spec.group_channels:
            fail("group_channels", spec.group_channels, f"a divisor of every stage's inner width, and one is {inner}")
        if inner % spec.reduce_first or inner // spec.reduce_first % spec.conv_groups(inner):
            fail("reduce_first", spec.reduce_first, f"a divisor of each group's width, of {inner} in a stage")
    for width in _normalized_widths(spec) if spec.norm == "group" else ():
        by = "norm_groups" if spec.norm_group_channels is None else "norm_group_channels"
        if width % getattr(spec, by):
            fail(by, getattr(spec, by), f"a divisor of every normalized width, and one is {width}")
    if spec.block == "basic" and spec.stem_width % spec.groups:
        field = "stem_channels" if spec.stem else "in_channels"
        fail(
            field,
            spec.stem_width,
            f"a multiple of groups = {spec.groups}: a basic block's first convolution is grouped",
        )


def _check_bounds(spec: ResNetSpec) -> None:
    found = tensor_values(spec)
    for field, total, most, what in (
        (found.most_common(1)[0][0], found.total(), MOST_VALUES, "values in all tensors"),
        (*map_values(spec), MOST_MAP, "values in a map of one image"),
    ):
        if total > most:
            fail(field, getattr(spec, field), f"a network of at most {most:,} {what}, and this one has {total:,}")


def _normalized_widths(spec: ResNetSpec) -> list[int]:
    stem = [*spec.stem_inner_widths, spec.stem_width] if spec.stem else []
    if spec.preactivation and not spec.stem:
        stem = [spec.in_channels]  # the first block's norm
    inner = [spec.inner_width(channels) for channels in spec.channels]
    reduced = [width // spec.reduce_first for width in inner]
    return [*stem, *inner, *reduced, *map(spec.output_width, spec.channels), *filter(None, [spec.head_channels])]


def _check_combinations(spec: ResNetSpec) -> None:
    for field, broken, allowed in RULES:
        if broken(spec):
            fail(field, getattr(spec, field), allowed)
    if spec.shortcut == "pad":
        widths = [spec.stem_width, *map(spec.output_width, spec.channels)]
        for stage, (before, after) in enumerate(pairwise(widths), start=1):
            if after < before:
                shrinks = f"stage {stage}: {before} to {after}"
                fail("shortcut", spec.shortcut, f'"projection" or "subsample" where channels shrink ({shrinks})')
    if spec.stem:
        kernel = (spec.stem_kernel, spec.stem_kernel)
        stride = (spec.stem_stride, spec.stem_stride)
        if min(output_size(symmetric(spec.stem_kernel), kernel, stride, (1, 1), spec.input_size)) < 1:
            fail("input_size", spec.input_size, f"at least the stem's kernel of {spec.stem_kernel} with its padding")
