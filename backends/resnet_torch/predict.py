"""Images in, arrays out, in evaluation mode."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from resnet_core.backend import check_images


def predict(model: nn.Module, images: np.ndarray) -> np.ndarray | dict[str, np.ndarray]:
    """Logits of images (batch, height, width, channels), or {tap: array} when built with taps.

    Feature maps come out channels last. The model's mode is as before afterwards.
    """
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            return to_neutral(model(to_native(model, images)))
    finally:
        model.train(training)


def to_native(model: nn.Module, images: np.ndarray) -> Tensor:
    """(batch, height, width, channels) to (batch, channels, height, width), on the model's device."""
    parameter = next(model.parameters())
    channels_first = np.ascontiguousarray(check_images(images).transpose(0, 3, 1, 2))
    return torch.from_numpy(channels_first).to(parameter.device, parameter.dtype)


def to_neutral(output: Tensor | dict[str, Tensor]) -> np.ndarray | dict[str, np.ndarray]:
    """Tensors to arrays, channels last."""
    if isinstance(output, dict):
        return {tap: _array(tensor) for tap, tensor in output.items()}
    return _array(output)


def _array(tensor: Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.detach().movedim(1, -1).cpu().numpy())
