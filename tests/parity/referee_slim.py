"""tf_slim's pre-activation ResNet, renamed: `block1/unit_2/bottleneck_v2/conv1/BatchNorm/gamma` is norm2's weight."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from resnet_core.weights import Weights

#: slim's module to the neutral one. The norm after conv1 stands before conv2, which gives it its number.
MODULES = {
    "preact": "norm1",
    "conv1/BatchNorm": "norm2",
    "conv2/BatchNorm": "norm3",
    "shortcut": "shortcut.conv",
    "conv1": "conv1",
    "conv2": "conv2",
    "conv3": "conv3",
}
ENDS = {"conv1": "stem.conv", "postnorm": "head.norm", "logits": "head.linear"}
LEAVES = {
    "weights": "weight",
    "biases": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
UNIT = re.compile(r"block(\d+)/unit_(\d+)/bottleneck_v2/(.+)")


def from_slim(variables: Mapping[str, np.ndarray]) -> Weights:
    """Neutral weights from the variables of a tf_slim resnet_v2 graph."""
    return {_name(key): _layout(key, value) for key, value in variables.items()}


def _name(key: str) -> str:
    module, _, leaf = key.partition("/")[2].rpartition("/")
    unit = UNIT.fullmatch(module)
    path = f"stage{unit[1]}.block{unit[2]}.{MODULES[unit[3]]}" if unit else ENDS[module]
    return f"{path}.{LEAVES[leaf]}"


def _layout(key: str, value: np.ndarray) -> np.ndarray:
    if value.ndim == 1:
        return value
    kernel = np.ascontiguousarray(value.transpose(3, 2, 0, 1))  # (height, width, in, out)
    return kernel[:, :, 0, 0] if key.endswith("/logits/weights") else kernel
