"""The zoo at test size: whole where that is affordable, else narrow, and shallow where depth alone is slow."""

from __future__ import annotations

import resnet_core as rn
from resnet_core.comparison.narrow import narrowed
from resnet_core.zoo import family

FULL = ("resnet18", "resnet50", "resnet18_d2l", "resnet20", "resnet_v2_50")

#: One network of each kind; the others of the zoo are deeper, and nothing else that a size could show.
KINDS = (*FULL, "resnet50_v1", "resnext50_32x4d", "wide_resnet50_2")

#: Where rounding errors have the longest way: float32 is asked of these too.
DEEPEST = ("resnet110", "resnet_v2_200")

CHANGES: dict[str, dict[str, object]] = {
    **{name: {"groups": 8, "width_per_group": 16} for name in ("resnext50_32x4d", "resnext101_32x8d")},
    "resnext101_64x4d": {"groups": 4, "width_per_group": 32},
    # Compiling 1202 layers takes XLA minutes, and block 30 of a stage is block 199 again.
    **{name: {"depths": [7, 7, 7]} for name in ("resnet1202", "resnet1202_option_b", "preact_resnet1001")},
}

#: (height, width), seed: even; odd and not square; mixed parity where the strides and the pool sit (33 x 26).
PAIRS = (((64, 64), 0), ((67, 45), 1), ((66, 52), 2))
CIFAR_PAIRS = (((32, 32), 0), ((33, 27), 1), ((34, 28), 2))
#: The pair that is odd and not square.
ODD = 1


def spec(name: str) -> rn.ResNetSpec:
    """The named spec; narrow unless it is one of FULL, and shallow if its blocks are not of the first few kinds."""
    spec = rn.spec(name)
    if name in FULL:
        return spec
    simple = family(name) in ("resnet", "caffe", "slim", "cifar") and spec.groups == 1 and spec.stem_channels is None
    if not simple and name not in CHANGES:
        return rn.spec(narrowed(spec), depths=[min(depth, 2) for depth in spec.depths], classes=10)
    narrow = [8, 16, 32, 64, 128][: len(spec.depths)]
    return rn.spec(name, **{"channels": narrow, "classes": 10, **CHANGES.get(name, {})})


def pairs(name: str) -> tuple[tuple[tuple[int, int], int], ...]:
    return CIFAR_PAIRS if rn.spec(name).stem_stride == 1 else PAIRS
