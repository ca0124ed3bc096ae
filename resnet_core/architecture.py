"""From spec to layer tree: the only place that knows how a ResNet is assembled."""

from __future__ import annotations

from functools import lru_cache

from resnet_core.errors import InputError
from resnet_core.padding import symmetric
from resnet_core.specification import BlockStride, ResNetSpec
from resnet_core.tree import (
    BatchNorm,
    Chain,
    Conv,
    GlobalAveragePool,
    Leaf,
    Linear,
    MaxPool,
    Node,
    Pad,
    PadChannels,
    ReLU,
    Residual,
    Subsample,
    leaves,
)

Named = tuple[str, Node]


@lru_cache(maxsize=256)
def layer_tree(spec: ResNetSpec) -> Chain:
    """The network as `stem`, `stage1` … `stageN`, `head`; an empty stem or head is left out."""
    children: list[Named] = []
    if spec.stem:
        children.append(("stem", _stem(spec)))
    width = spec.stem_width
    for stage, (channels, strides) in enumerate(zip(spec.channels, spec.block_strides(), strict=True), start=1):
        blocks: list[Named] = []
        for block, block_stride in enumerate(strides, start=1):
            blocks.append((f"block{block}", _block(spec, width, channels, block_stride)))
            width = spec.output_width(channels)
        children.append((f"stage{stage}", Chain(tuple(blocks))))
    head = _head(spec, width)
    if head.children:
        children.append(("head", head))
    return Chain(tuple(children))


def taps(spec: ResNetSpec) -> tuple[str, ...]:
    """Names of the intermediate outputs: `stem` (after its pool), every stage, and the network's output.

    The output is `logits`, or `features` if the spec has no classes.
    """
    stem = ("stem",) if spec.stem else ()
    stages = tuple(f"stage{stage + 1}" for stage in range(len(spec.depths)))
    return (*stem, *stages, output_name(spec))


def output_name(spec: ResNetSpec) -> str:
    """The tap that is the network's output."""
    return "features" if spec.classes is None else "logits"


def tap_nodes(tree: Chain, wanted: tuple[str, ...]) -> dict[str, str]:
    """{tap: name of the child of the tree whose output it is}. Raises InputError for an unknown tap.

    A tree's taps are its children except the head, and its output: `logits` if the last layer is linear, else
    `features`.
    """
    children = [name for name, _ in tree.children]
    *_, (_, leaf) = leaves(tree)
    output = "logits" if isinstance(leaf, Linear) else "features"
    known = (*(name for name in children if name != "head"), output)
    if isinstance(wanted, str):
        raise InputError(f"taps: received the text {wanted!r}; expected a tuple of names from {', '.join(known)}")
    for tap in wanted:
        if tap not in known:
            raise InputError(f"taps: received {tap!r}; this network has {', '.join(known)}")
    return {tap: children[-1] if tap == output else tap for tap in wanted}


def _stem(spec: ResNetSpec) -> Chain:
    conv = _conv(spec, "stem", spec.in_channels, spec.stem_width, spec.stem_kernel, spec.stem_stride)
    children: list[Named] = [("conv", conv)]
    if not spec.preactivation:
        children += [("norm", _norm(spec, spec.stem_width)), ("relu", ReLU())]
    if spec.stem_pool == "max":
        if spec.stem_pool_padding == "zeros":
            children.append(("pad", Pad(((1, 1), (1, 1)))))
        padding = {"symmetric": symmetric(3), "same": "same", "zeros": symmetric(1)}[spec.stem_pool_padding]
        children.append(("pool", MaxPool((3, 3), (2, 2), padding)))  # type: ignore[arg-type]
    return Chain(tuple(children))


def _block(spec: ResNetSpec, width: int, channels: int, block_stride: BlockStride) -> Residual:
    """One residual block of any kind: `width` channels in, `spec.output_width(channels)` out."""
    inner, out = spec.inner_width(channels), spec.output_width(channels)
    kernels = (3, 3) if spec.block == "basic" else (1, 3, 1)
    widths = (width, *(inner,) * (len(kernels) - 1), out)
    strided = kernels.index(3 if spec.stride_on == "3x3" else 1)
    body: list[Named] = []
    for index, kernel in enumerate(kernels):
        number, last = index + 1, index == len(kernels) - 1
        conv = _conv(
            spec,
            "last" if last else "inner",
            widths[index],
            widths[index + 1],
            kernel,
            block_stride.stride if index == strided else 1,
            block_stride.dilation if index <= strided else block_stride.dilation_after,
            spec.groups if kernel == 3 else 1,
        )
        norm = _norm(spec, widths[index] if spec.preactivation else widths[index + 1])
        activation: list[Named] = [(f"norm{number}", norm), (f"relu{number}", ReLU())]
        step: Named = (f"conv{number}", conv)
        body += [*activation, step] if spec.preactivation else [step, *activation]
    # Post-activation: the last ReLU follows the addition. Pre-activation: a projection reads the activated
    # input, an identity or subsampling the raw one (He et al. 2016, figure 4e; slim's bottleneck).
    shortcut, projects = _shortcut(spec, width, out, block_stride.stride, block_stride.nominal_stride)
    before = 2 if spec.preactivation and projects else 0
    after = 0 if spec.preactivation else 1
    return Residual(
        pre=Chain(tuple(body[:before])),
        body=Chain(tuple(body[before : len(body) - after])),
        shortcut=shortcut,
        post=Chain(tuple(body[len(body) - after :])),
    )


def _shortcut(spec: ResNetSpec, width: int, out: int, stride: int, nominal_stride: int) -> tuple[Chain, bool]:
    """The shortcut, and whether it is a projection.

    The nominal stride decides, so that an output stride never changes which tensors a network has.
    """
    widens, strides = width != out, nominal_stride != 1
    projects = {
        "projection": widens or strides,
        "projection_all": True,
        "subsample": widens,
        "pad": False,
    }[spec.shortcut]
    if projects:
        children: list[Named] = [("conv", _conv(spec, "shortcut", width, out, 1, stride))]
        if spec.has_shortcut_norm:
            children.append(("norm", _norm(spec, out)))
        return Chain(tuple(children)), True
    children = []
    if stride != 1:
        children.append(("subsample", Subsample((stride, stride))))
    if widens:
        before = (out - width) // 2
        children.append(("pad", PadChannels(before, out - width - before)))
    return Chain(tuple(children)), False


def _head(spec: ResNetSpec, width: int) -> Chain:
    children: list[Named] = []
    if spec.preactivation:
        children += [("norm", _norm(spec, width)), ("relu", ReLU())]
    if spec.global_pool:
        children.append(("pool", GlobalAveragePool()))
    if spec.classes is not None:
        children.append(("linear", Linear(width, spec.classes, dense=not spec.global_pool)))
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
        padding=symmetric(kernel, rate),
        dilation=(rate, rate),
        groups=groups,
        bias=place in spec.conv_bias,
    )


def _norm(spec: ResNetSpec, channels: int) -> Leaf:
    return BatchNorm(channels, spec.norm_epsilon, spec.norm_decay)
