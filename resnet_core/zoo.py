"""The named specs, as plain data: each is defined by how it differs from a related one."""

from __future__ import annotations

import difflib
from typing import Any

from resnet_core.errors import InputError

_BASIC_18: dict[str, Any] = {"depths": [2, 2, 2, 2], "channels": [64, 128, 256, 512], "block": "basic"}
_BASIC_34 = {**_BASIC_18, "depths": [3, 4, 6, 3]}
_50 = {**_BASIC_34, "block": "bottleneck"}
_101 = {**_50, "depths": [3, 4, 23, 3]}
_152 = {**_50, "depths": [3, 8, 36, 3]}
_200 = {**_50, "depths": [3, 24, 36, 3]}

# He et al. 2015 as published (and in Caffe): the stride on the first 1x1.
_V1 = {"stride_on": "1x1", "initializer": "he"}

# Zhang et al., Dive into Deep Learning, section 8.6: biases everywhere, a bare 1x1 convolution as shortcut.
_D2L = {
    "conv_bias": ["stem", "inner", "last", "shortcut"],
    "shortcut_norm": False,
    "classes": 10,
    "in_channels": 1,
    "input_size": [96, 96],
    "initializer": "xavier",
}


def _cifar(depth: int) -> dict[str, Any]:
    """He et al. 2015, section 4.2: 6n + 2 layers, option A."""
    return {
        "depths": [(depth - 2) // 6] * 3,
        "channels": [16, 32, 64],
        "block": "basic",
        "classes": 10,
        "input_size": [32, 32],
        "stem_kernel": 3,
        "stem_stride": 1,
        "stem_pool": "none",
        "shortcut": "pad",
        "initializer": "he",
    }


# TF-slim, nets/resnet_v2.py with resnet_arg_scope (and its epsilon of 1e-5).
_SLIM_V2 = {
    "preactivation": True,
    "stem_pool_padding": "same",
    "stride_unit": "last",
    "shortcut": "subsample",
    "conv_bias": ["stem", "last", "shortcut"],
    "norm_decay": 0.997,
    "initializer": "slim",
}

ZOO: dict[str, dict[str, Any]] = {
    # torchvision/models/resnet.py
    "resnet18": _BASIC_18,
    "resnet34": _BASIC_34,
    "resnet50": _50,
    "resnet101": _101,
    "resnet152": _152,
    "wide_resnet50_2": {**_50, "width_per_group": 128},
    "wide_resnet101_2": {**_101, "width_per_group": 128},
    "resnext50_32x4d": {**_50, "groups": 32, "width_per_group": 4},
    "resnext101_32x8d": {**_101, "groups": 32, "width_per_group": 8},
    "resnext101_64x4d": {**_101, "groups": 64, "width_per_group": 4},
    "resnet50_v1": {**_50, **_V1},
    "resnet101_v1": {**_101, **_V1},
    "resnet152_v1": {**_152, **_V1},
    "resnet18_d2l": {**_BASIC_18, **_D2L},
    **{f"resnet{depth}": _cifar(depth) for depth in (20, 32, 44, 56, 110, 1202)},
    "resnet_v2_50": {**_50, **_SLIM_V2},
    "resnet_v2_101": {**_101, **_SLIM_V2},
    "resnet_v2_152": {**_152, **_SLIM_V2},
    "resnet_v2_200": {**_200, **_SLIM_V2},
}


def fields(name: str) -> dict[str, Any]:
    """The fields of a named spec. Raises InputError, with the nearest name, for an unknown one."""
    if name not in ZOO:
        close = difflib.get_close_matches(name, ZOO, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise InputError(
            f"{name}: no spec has this name; {hint}`resnet list` shows all, and a .toml or .json file, "
            "a run's folder or a weight file works too"
        )
    return {"name": name, **ZOO[name]}
