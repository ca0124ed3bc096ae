"""PyTorch's own checkpoint files."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import torch

from resnet_core.errors import WeightsError


def read_checkpoint(path: Path) -> dict[str, np.ndarray]:
    """{name: array} of a .pth state_dict, without executing what it may contain (`weights_only`).

    Raises WeightsError for anything but a mapping of names to tensors.
    """
    expected = "expected a PyTorch state_dict written by torch.save"
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
        raise WeightsError(f"{path}: cannot be read as a checkpoint ({reason}); {expected}") from error
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise WeightsError(f"{path}: holds something other than a mapping of names to tensors; {expected}")
    return {name: tensor.detach().numpy() for name, tensor in content.items()}
