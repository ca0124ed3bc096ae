"""The hand-written PyTorch model's tensors by neutral name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn

_RENAMED = {"conv1": "stem.conv", "bn1": "stem.norm", "fc": "head.linear"}
_IN_BLOCK = {"downsample.0": "shortcut.conv", "downsample.1": "shortcut.norm"}


def set_weights(model: nn.Module, weights: Mapping[str, np.ndarray]) -> None:
    with torch.no_grad():
        for name, tensor in _tensors(model):
            tensor.copy_(torch.from_numpy(weights[name]))


def get_weights(model: nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.detach().numpy().copy() for name, tensor in _tensors(model)}


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for path, tensor in model.state_dict().items():
        module, _, suffix = path.rpartition(".")
        if suffix != "num_batches_tracked":
            yield f"{_neutral(module)}.{suffix}", tensor


def _neutral(module: str) -> str:
    match = re.fullmatch(r"layer(\d)\.(\d)\.(.+)", module)
    if match is None:
        return _RENAMED[module]
    layer = _IN_BLOCK.get(match[3], match[3].replace("bn", "norm"))
    return f"stage{match[1]}.block{int(match[2]) + 1}.{layer}"
