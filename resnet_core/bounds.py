"""How large a network may be that somebody describes: arithmetic on a spec's fields, before anything is built of it.

A spec of a few lines can ask for more than any machine has. The bounds leave room for every published network: the
deepest of the zoo has 600 blocks, the largest 937 million values.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from math import prod
from typing import Any

#: Stages, and blocks in all of them.
MOST_STAGES = 100
MOST_BLOCKS = 2_000

#: Values of all tensors, and of the largest map of one image.
MOST_VALUES = 2_000_000_000
MOST_MAP = 2**30

#: Characters of a name: it is a title.
MOST_NAME = 250

#: Of a convolution's output channels: a bias and a norm's four.
_PER_CHANNEL = 5

#: The kernel of an ECA gate is never longer.
_ECA = 32


def tensor_values(spec: Any) -> Counter[str]:
    """{field that asks for them: values of the tensors}, at least as many as there are; of a ResNetSpec."""
    found: Counter[str] = Counter()
    widths = [spec.in_channels, *spec.stem_inner_widths, spec.stem_width]
    if spec.stem:
        found[_wider(spec)] = sum(_conv(before, after, spec.stem_kernel) for before, after in pairwise(widths)) + (
            _conv(spec.stem_width, spec.stem_width, spec.stem_pool_kernel) if spec.stem_pool == "conv" else 0
        )
    width = spec.stem_width
    for depth, channels in zip(spec.depths, spec.channels, strict=True):
        out = spec.output_width(channels)
        strided = 1 if depth > 1 and spec.stride_unit == "last" else 0  # whose shortcut projects too
        found["channels"] += _block(spec, width, channels, True) + strided * _block(spec, out, channels, True)
        found["channels"] += (depth - 1 - strided) * _block(spec, out, channels, False)
        width = out
    found["channels"] += _PER_CHANNEL * width  # a norm behind the last block
    if spec.head_channels is not None:
        found["head_channels"] = _conv(width, spec.head_channels, 1)
        width = spec.head_channels
    if spec.classes is not None:
        found["classes"] = spec.classes * (width * (2 if spec.head_pool == "both" else 1) + 1)
    return found


def map_values(spec: Any) -> tuple[str, int]:
    """(field that asks for it, values of the largest map of one image); of a ResNetSpec."""
    size = [*spec.input_size]
    found = [_map("in_channels", size, spec.in_channels)]
    if spec.stem:
        size = _strided(size, spec.stem_stride)
        found.append(_map(_wider(spec), size, max(*spec.stem_inner_widths, spec.stem_width, 1)))
        size = _strided(size, spec.stem_total_stride // spec.stem_stride)
    for channels, strides in zip(spec.channels, spec.block_strides(), strict=True):
        inner, out = spec.inner_width(channels), spec.output_width(channels)
        found.append(_map("channels", size, inner // spec.reduce_first))
        size = _strided(size, prod(block.stride for block in strides))
        found.append(_map("channels", size, max(inner, out)))
    return max(found, key=lambda each: each[1])


def _map(field: str, size: list[int], width: int) -> tuple[str, int]:
    """The larger factor is the reason."""
    return field if width > prod(size) else "input_size", prod(size) * width


def _wider(spec: Any) -> str:
    """The field that makes a stem large."""
    if spec.in_channels > spec.stem_width:
        return "in_channels"
    return "channels" if spec.stem_channels is None else "stem_channels"


def _block(spec: Any, width: int, channels: int, projects: bool) -> int:
    inner, out = spec.inner_width(channels), spec.output_width(channels)
    if spec.block == "basic":
        total = _conv(width, inner, 3, spec.conv_groups(inner)) + _conv(inner, out, 3, spec.conv_groups(out))
        gated = out
    else:
        reduced = inner // spec.reduce_first
        total = _conv(width, reduced, 1) + _conv(reduced, inner, 3, spec.conv_groups(inner)) + _conv(inner, out, 1)
        gated = inner if spec.attention_place == "inner" else out
    if spec.attention == "se":
        total += 2 * gated * spec.squeezed_width(gated) + gated + spec.squeezed_width(gated)
    total += _ECA if spec.attention == "eca" else 0
    if projects or spec.shortcut == "projection_all":
        total += _conv(width, out, spec.shortcut_kernel) if spec.shortcut not in ("pad", "none") else 0
    return total + _PER_CHANNEL * width  # a norm before the first convolution


def _conv(width: int, out: int, kernel: int, groups: int = 1) -> int:
    return width * out * kernel * kernel // groups + _PER_CHANNEL * out


def _strided(size: list[int], stride: int) -> list[int]:
    return [-(-side // stride) for side in size]
