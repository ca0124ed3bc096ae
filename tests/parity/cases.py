"""The zoo at test size: narrow, in the long profile whole where that is affordable, shallow where depth is slow."""

from __future__ import annotations

import resnet_core as rn

FULL = ("resnet18", "resnet50", "resnet18_d2l", "resnet20", "resnet_v2_50")

#: One network of each kind: basic blocks with biases, bottlenecks with the stride in either place, pre-activation,
#: option A without a pool, groups. The others of the zoo are deeper or wider, and nothing else that a size could show;
#: at their full width, test_referees.py and test_referees_papers.py hold resnet18 and all of these but resnet20.
KINDS = ("resnet18_d2l", "resnet50", "resnet50_v1", "resnet_v2_50", "resnet20", "resnext50_32x4d")

#: Where rounding errors have the longest way that takes no minutes: float32 is asked of it too.
DEEPEST = ("resnet110",)

CHANGES: dict[str, dict[str, object]] = {
    **{name: {"groups": 8, "width_per_group": 16} for name in ("resnext50_32x4d", "resnext101_32x8d")},
    "resnext101_64x4d": {"groups": 4, "width_per_group": 32},
    # Compiling 1202 layers takes XLA minutes, and block 30 of a stage is block 199 again.
    "resnet1202": {"depths": [7, 7, 7]},
}

#: (height, width), seed: even; odd and not square; mixed parity where the strides and the pool sit (33 x 26).
PAIRS = (((64, 64), 0), ((67, 45), 1), ((66, 52), 2))
CIFAR_PAIRS = (((32, 32), 0), ((33, 27), 1), ((34, 28), 2))
#: The pair that is odd and not square.
ODD = 1


def spec(name: str, long: bool) -> rn.ResNetSpec:
    """The named spec; narrow, unless it is one of FULL in the long profile."""
    if long and name in FULL:
        return rn.spec(name)
    narrow = [8, 16, 32, 64, 128][: len(rn.spec(name).depths)]
    return rn.spec(name, **{"channels": narrow, "classes": 10, **CHANGES.get(name, {})})


def pairs(name: str) -> tuple[tuple[tuple[int, int], int], ...]:
    return CIFAR_PAIRS if rn.spec(name).stem_kernel == 3 else PAIRS
