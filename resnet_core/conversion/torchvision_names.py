"""torchvision's names, translated: `layer1.0.bn1.weight` becomes `stage1.block1.norm1.weight`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from resnet_core.errors import WeightsError
from resnet_core.weights import Weights

_MODULES = (
    (re.compile(r"^conv1$"), r"stem.conv"),
    (re.compile(r"^bn1$"), r"stem.norm"),
    (re.compile(r"^fc$"), r"head.linear"),
    (re.compile(r"^layer(\d+)\.(\d+)\.conv(\d)$"), r"stage\1.block{block}.conv\3"),
    (re.compile(r"^layer(\d+)\.(\d+)\.bn(\d)$"), r"stage\1.block{block}.norm\3"),
    (re.compile(r"^layer(\d+)\.(\d+)\.downsample\.0$"), r"stage\1.block{block}.shortcut.conv"),
    (re.compile(r"^layer(\d+)\.(\d+)\.downsample\.1$"), r"stage\1.block{block}.shortcut.norm"),
)


def from_torchvision(state_dict: Mapping[str, Any]) -> Weights:
    """Neutral weights from a torchvision ResNet's state_dict (tensors or arrays); only the names change.

    PyTorch's counters (`num_batches_tracked`) are left out. Raises WeightsError for any other unknown name.
    """
    if not isinstance(state_dict, Mapping):
        raise WeightsError(
            f"state_dict: received a {type(state_dict).__name__}; expected names with tensors; read_weights reads files"
        )
    weights: Weights = {}
    for key, value in state_dict.items():
        if not key.endswith(".num_batches_tracked"):
            weights[_neutral(key)] = _array(value)
    return weights


def is_torchvision(names: Mapping[str, Any]) -> bool:
    """Whether the names look like a torchvision ResNet's, with or without its classifier."""
    return {"conv1.weight", "bn1.weight", "layer1.0.conv1.weight"} <= names.keys()


#: What wrappers put before every name: DataParallel, torch.compile, Lightning.
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "backbone.", "resnet.")


def without_prefix(arrays: Mapping[str, np.ndarray]) -> Weights:
    """The same arrays without the prefixes that all names share, such as `module._orig_mod.`."""
    names = list(arrays)
    while prefix := next((p for p in PREFIXES if names and all(name.startswith(p) for name in names)), ""):
        names = [name[len(prefix) :] for name in names]
    return dict(zip(names, arrays.values(), strict=True))


def _neutral(key: str) -> str:
    module, _, suffix = key.rpartition(".")
    for pattern, template in _MODULES:
        if match := pattern.match(module):
            block = int(match[2]) + 1 if pattern.groups > 1 else 0
            return f"{match.expand(template.replace('{block}', str(block)))}.{suffix}"
    raise WeightsError(
        f"{key}: not a name of torchvision's ResNet; expected conv1, bn1, layer1.0.conv1 …, fc "
        "(strip a prefix such as 'module.' first)"
    )


def _array(value: Any) -> np.ndarray:
    if hasattr(value, "detach"):  # a PyTorch tensor, without importing PyTorch
        value = value.detach().cpu().numpy()
    return np.asarray(value)
