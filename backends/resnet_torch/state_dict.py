"""PyTorch's own checkpoint files."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import torch

from resnet_core.errors import WeightsError

_EXPECTED = "expected a PyTorch state_dict written by torch.save"


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """{name: array} of a .pth state_dict, without executing any code in it (`weights_only`).

    Raises WeightsError for anything but a mapping of names to dense float32 or float64 tensors (apart from counters).
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # PyTorch's readers raise almost anything on damaged data
        raise WeightsError(f"{path}: cannot be read as a checkpoint ({_reason(error)}); {_EXPECTED}") from error
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise WeightsError(f"{path}: holds something other than a mapping of names to tensors; {_EXPECTED}")
    for name, tensor in content.items():
        known = tensor.dtype in (torch.float32, torch.float64) or str(name).endswith(".num_batches_tracked")
        if not known or tensor.layout != torch.strided or tensor.is_meta:
            kind = "without values" if tensor.is_meta else f"{tensor.dtype} ({tensor.layout})".replace("torch.", "")
            raise WeightsError(f"{path}: {name} is {kind}; expected float32 or float64 (strided): convert it first")
    return {str(name): tensor.detach().numpy() for name, tensor in content.items()}


def _reason(error: Exception) -> str:
    if isinstance(error, pickle.UnpicklingError):  # its message suggests loading without protection
        return "damaged, or it holds more than tensors; nothing in it was executed"
    first = str(error).partition("\n")[0].partition(". ")[0]
    return f"{type(error).__name__}: {first[:120]}" if first else type(error).__name__
