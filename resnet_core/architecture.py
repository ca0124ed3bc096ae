"""From spec to layer tree: the only place that knows how a ResNet is assembled."""

from __future__ import annotations

from functools import lru_cache
from math import log2, prod
from typing import NamedTuple

from resnet_core.deploy_form import fold
from resnet_core.padding import Padding, symmetric
from resnet_core.spec_files import Source
from resnet_core.spec_files import spec as read_spec
from resnet_core.specification import BlockStride, ResNetSpec
from resnet_core.tree import (
    Activation,
    AveragePool,
    BatchNorm,
    BlurPool,
    Chain,
    ChannelConv,
    Conv,
    Dropout,
    DropPath,
    FrozenNorm,
    Gate,
    GlobalAveragePool,
    GlobalConcatPool,
    GlobalMaxPool,
    GroupNorm,
    LayerNorm,
    Leaf,
    Linear,
    MaxPool,
    Node,
    Pad,
    PadChannels,
    ReLU,
    Residual,
    Subsample,
)

Named = tuple[str, Node]

#: Of standardized weights (BiT; timm's StdConv2d with its eps of 1e-8).
STANDARDIZATION_EPSILON = 1e-8

_IN_BLOCKS = ("inner", "last", "shortcut")

#: {head_pool: (leaf, features for each channel)}.
_HEAD_POOLS: dict[str, tuple[Leaf, int]] = {
    "average": (GlobalAveragePool(), 1),
    "max": (GlobalMaxPool(), 1),
    "both": (GlobalConcatPool(), 2),
}


class Place(NamedTuple):
    """What a block's place in the network decides."""

    stride: BlockStride
    first: bool  #: of its stage
    drop_path: float  #: the share of the images that skip it in training


def layer_tree(spec: Source) -> Chain:
    """The network as `stem`, `stage1` … `stageN`, `head`; an empty stem or head is left out."""
    return tree_of(read_spec(spec))


@lru_cache(maxsize=256)
def tree_of(spec: ResNetSpec) -> Chain:
    """The same, of a spec that has been read."""
    children: list[Named] = []
    if spec.stem:
        children.append(("stem", _stem(spec)))
    width = spec.stem_width
    stages = zip(spec.channels, spec.block_strides(), spec.drop_path_rates(), strict=True)
    for stage, (channels, strides, rates) in enumerate(stages, start=1):
        blocks: list[Named] = []
        built: dict[tuple[int, Place], Node] = {}  # most blocks of a deep network are equal
        for block, (block_stride, rate) in enumerate(zip(strides, rates, strict=True), start=1):
            place = Place(block_stride, block == 1, rate)
            if (width, place) not in built:
                built[width, place] = _block(spec, width, channels, place)
            blocks.append((f"block{block}", built[width, place]))
            width = spec.output_width(channels)
        children.append((f"stage{stage}", Chain(tuple(blocks))))
    head = _head(spec, width)
    if head.children:
        children.append(("head", head))
    tree = Chain(tuple(children))
    return fold(tree) if spec.deploy else tree


def taps(spec: Source) -> tuple[str, ...]:
    """Names of the intermediate outputs: `stem` (after its pool), every stage, and the network's output.

    The output is `logits`, or `features` if the spec has no classes.
    """
    spec = read_spec(spec)
    stem = ("stem",) if spec.stem else ()
    stages = tuple(f"stage{stage + 1}" for stage in range(len(spec.depths)))
    return (*stem, *stages, output_name(spec))


def output_name(spec: ResNetSpec) -> str:
    """The tap that is the network's output."""
    return "features" if spec.classes is None else "logits"


def _stem(spec: ResNetSpec) -> Chain:
    children: list[Named] = []
    widths = (spec.in_channels, *spec.stem_inner_widths, spec.stem_width)
    last = len(widths) - 1
    for index in range(last):
        number = "" if last == 1 else str(index + 1)
        strides = [spec.stem_stride if index == 0 else 1]
        if index + 1 == last and spec.stem_pool == "stride":
            strides.append(spec.stem_pool_stride)
        conv = _conv(spec, "stem", widths[index], widths[index + 1], spec.stem_kernel, prod(strides))
        children.append((f"conv{number}", conv))
        if index + 1 < last or not spec.preactivation:
            children += _activated(spec, widths[index + 1], number)
    return Chain((*children, *_stem_pool(spec)))


def _stem_pool(spec: ResNetSpec) -> list[Named]:
    """The stem's pool: by default a 3x3 maximum at stride 2."""
    if spec.stem_pool in ("none", "stride"):
        return []
    kernel, stride, width = spec.stem_pool_kernel, spec.stem_pool_stride, spec.stem_width
    blur = _antialias(spec, BlockStride(stride, stride, 1, 1))
    if blur and spec.antialias == "average" and spec.stem_pool == "max":
        return [("pool", blur)]  # it takes the place of the maximum (timm)
    step, blurred = (1, [("blur", blur)]) if blur else (stride, [])
    if spec.stem_pool == "conv":
        conv = _conv(spec, "stem", width, width, kernel, step)
        return [("pool_conv", conv), *blurred, *_activated(spec, width, prefix="pool_")]
    pads: list[Named] = [("pad", Pad(symmetric(kernel)))] if spec.stem_pool_padding == "zeros" else []
    paddings: dict[str, Padding] = {"symmetric": symmetric(kernel), "same": "same", "zeros": symmetric(1)}
    padding = paddings[spec.stem_pool_padding]
    return [*pads, ("pool", MaxPool((kernel, kernel), (step, step), padding)), *blurred]


def _block(spec: ResNetSpec, width: int, channels: int, place: Place) -> Node:
    """One block of any kind: `width` channels in, `spec.output_width(channels)` out."""
    inner, out, block_stride = spec.inner_width(channels), spec.output_width(channels), place.stride
    kernels = (3, 3) if spec.block == "basic" else (1, 3, 1)
    widths = (width, inner, out) if spec.block == "basic" else (width, inner // spec.reduce_first, inner, out)
    strided = kernels.index(3 if spec.stride_on == "3x3" else 1)
    blur = _antialias(spec, block_stride)
    body: list[Named] = []
    for index, kernel in enumerate(kernels):
        number, last = index + 1, index == len(kernels) - 1
        conv = _conv(
            spec,
            "last" if last else "inner",
            widths[index],
            widths[index + 1],
            kernel,
            block_stride.stride if index == strided and not blur else 1,
            block_stride.dilation if index <= strided else block_stride.dilation_after,
            spec.conv_groups(widths[index + 1]) if kernel == 3 else 1,
        )
        activation = _activated(spec, widths[index] if spec.preactivation else widths[index + 1], str(number))
        step: list[Named] = [(f"conv{number}", conv)]
        body += [*activation, *step] if spec.preactivation else [*step, *activation]
        if blur and index == strided:
            body.append((f"pool{number}", blur))
        if spec.attention_place == "inner" and number == 2:
            body += _attention(spec, widths[2])
    # Post-activation: the last activation follows the addition. Pre-activation: a projection reads the activated
    # input, an identity or subsampling the raw one (He et al. 2016, figure 4e; slim's bottleneck).
    shortcut, projects = _shortcut(spec, width, out, place)
    before = len(_activated(spec, width)) if spec.preactivation and projects else 0
    after = len(_activation(spec)) if not spec.preactivation else 0
    pre, main, post = body[:before], body[before : len(body) - after], body[len(body) - after :]
    if spec.attention_place == "last":
        main += _attention(spec, out)
    if place.drop_path:
        main.append(("drop_path", DropPath(place.drop_path)))
    if spec.shortcut == "none":
        return Chain((*pre, *main, *post))
    return Residual(pre=Chain(tuple(pre)), body=Chain(tuple(main)), shortcut=shortcut, post=Chain(tuple(post)))


def _shortcut(spec: ResNetSpec, width: int, out: int, place: Place) -> tuple[Chain, bool]:
    """The shortcut, and whether it is a projection.

    The nominal stride decides, so that an output stride never changes which tensors a network has.
    """
    strides = place.stride.nominal_stride != 1
    widens, stride, dilation = width != out, place.stride.stride, place.stride.dilation
    projects = {
        "projection": widens or strides,
        "projection_first": widens or strides or place.first,
        "projection_all": True,
        "subsample": widens,
        "pad": False,
        "none": False,
    }[spec.shortcut]
    children: list[Named] = []
    if strides and spec.shortcut_pool != "none":
        children.append(("pool", _pool(spec.shortcut_pool, place.stride)))
        stride = 1
    if projects:
        kernel = spec.shortcut_kernel if strides and not children else 1
        children.append(("conv", _conv(spec, "shortcut", width, out, kernel, stride, dilation)))
        if spec.has_shortcut_norm:
            children.append(("norm", _norm(spec, out)))
        return Chain(tuple(children)), True
    if stride != 1:
        children.append(("subsample", Subsample((stride, stride))))
    if widens:
        before = (out - width) // 2
        children.append(("pad", PadChannels(before, out - width - before)))
    return Chain(tuple(children)), False


def _head(spec: ResNetSpec, width: int) -> Chain:
    children: list[Named] = []
    if spec.preactivation:
        children += _activated(spec, width)
    if spec.head_channels is not None:
        children.append(("conv", _conv(spec, "head", width, spec.head_channels, 1)))
        width = spec.head_channels
        children += _activated(spec, width, "2" if spec.preactivation else "")
    if spec.global_pool:
        pool, times = _HEAD_POOLS[spec.head_pool]
        children.append(("pool", pool))
        width *= times
    if spec.classes is not None:
        if spec.dropout:
            children.append(("dropout", Dropout(spec.dropout)))
        children.append(("linear", Linear(width, spec.classes, spec.head_bias, dense=not spec.global_pool)))
    return Chain(tuple(children))


def _conv(
    spec: ResNetSpec,
    place: str,
    width: int,
    out: int,
    kernel: int,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
) -> Leaf:
    rate = dilation if kernel > 1 else 1  # dilation has no effect on a 1x1 kernel
    return Conv(
        in_channels=width,
        out_channels=out,
        kernel=(kernel, kernel),
        stride=(stride, stride),
        padding="same" if spec.conv_padding == "same" and place in _IN_BLOCKS else symmetric(kernel, rate),
        dilation=(rate, rate),
        groups=groups,
        bias=place in spec.conv_bias or spec.norm == "none",  # without norms, biases do their part
        standardize=STANDARDIZATION_EPSILON if spec.standardize_weights else None,
    )


def _activated(spec: ResNetSpec, channels: int, number: str = "", prefix: str = "") -> list[Named]:
    """A norm and an activation, as far as the spec has them."""
    norm: list[Named] = [] if spec.norm == "none" else [(f"{prefix}norm{number}", _norm(spec, channels))]
    return [*norm, *_activation(spec, number, prefix)]


def _activation(spec: ResNetSpec, number: str = "", prefix: str = "") -> list[Named]:
    match spec.activation:
        case "none":
            return []
        case "relu":
            return [(f"{prefix}relu{number}", ReLU())]
    return [(f"{prefix}activation{number}", Activation(spec.activation))]


def _norm(spec: ResNetSpec, channels: int) -> Leaf:
    match spec.norm:
        case "group":
            return GroupNorm(channels, spec.normalized_groups(channels), spec.norm_epsilon)
        case "layer":
            return LayerNorm(channels, spec.norm_epsilon)
        case "frozen":
            return FrozenNorm(channels, spec.norm_epsilon)
    return BatchNorm(channels, spec.norm_epsilon, spec.norm_decay)


def _antialias(spec: ResNetSpec, stride: BlockStride) -> Leaf | None:
    """The pool that has the stride of what is before it; none where nothing strides."""
    return None if spec.antialias == "none" or stride.nominal_stride == 1 else _pool(spec.antialias, stride)


def _pool(kind: str, stride: BlockStride) -> Leaf:
    strides, dilation = (stride.stride, stride.stride), (stride.dilation, stride.dilation)
    if kind == "blur":
        return BlurPool(strides, dilation)
    return AveragePool((2, 2), strides, dilation, partial=True)


def _attention(spec: ResNetSpec, channels: int) -> list[Named]:
    """A gate for each channel: squeeze-and-excitation, or ECA with the paper's kernel size."""
    match spec.attention:
        case "se":
            squeezed = spec.squeezed_width(channels)
            reduce, expand = Linear(channels, squeezed), Linear(squeezed, channels)
            factors: list[Named] = [("reduce", reduce), ("relu", ReLU()), ("expand", expand)]
        case "eca":
            size = int(abs(log2(channels) + 1) / 2)
            factors = [("conv", ChannelConv(max(3, size + 1 - size % 2)))]
        case _:
            return []
    squeeze: Named = ("pool", GlobalAveragePool())
    return [(spec.attention, Gate(Chain((squeeze, *factors, ("sigmoid", Activation("sigmoid"))))))]
