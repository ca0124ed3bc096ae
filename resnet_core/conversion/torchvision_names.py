"""torchvision's state_dict in memory, and the prefixes that wrappers put before names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from resnet_core.conversion.formats import torchvision
from resnet_core.conversion.naming import read_names
from resnet_core.errors import WeightsError
from resnet_core.weights import Weights


def from_torchvision(state_dict: Mapping[str, Any]) -> Weights:
    """Neutral weights from a torchvision ResNet's state_dict (tensors or arrays); only the names change.

    PyTorch's counters (`num_batches_tracked`) are left out. Raises WeightsError for any other unknown name.
    """
    if not isinstance(state_dict, Mapping):
        raise WeightsError(
            f"state_dict: received a {type(state_dict).__name__}; expected names with tensors; read_weights reads files"
        )
    names, unknown = read_names(torchvision.FORMAT, torchvision.FORMAT.styles[0], state_dict)
    if unknown:
        raise WeightsError(
            f"{unknown[0]}: not a name of torchvision's ResNet; expected conv1, bn1, layer1.0.conv1 …, fc "
            "(strip a prefix such as 'module.' first)"
        )
    return {here: _array(state_dict[there]) for there, here in names.items()}


#: What wrappers put before every name: DataParallel, torch.compile, Lightning.
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "backbone.", "resnet.")


def without_prefix(arrays: Mapping[str, np.ndarray]) -> Weights:
    """The same arrays without the prefixes that all names share, such as `module._orig_mod.`."""
    names = list(arrays)
    while prefix := next((p for p in PREFIXES if names and all(name.startswith(p) for name in names)), ""):
        names = [name[len(prefix) :] for name in names]
    return dict(zip(names, arrays.values(), strict=True))


def _array(value: Any) -> np.ndarray:
    if hasattr(value, "detach"):  # a PyTorch tensor, without importing PyTorch
        value = value.detach().cpu().numpy()
    return np.asarray(value)
