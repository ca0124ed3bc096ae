"""Neutral weights in and out of a PyTorch model, which has the same names and layout."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from resnet_core.weights import Weights, array_dtype, check_weights


def get_weights(model: nn.Module) -> Weights:
    """The state_dict as NumPy arrays, without PyTorch's counters."""
    return {name: to_array(tensor).copy() for name, tensor in _tensors(model).items()}


def set_weights(model: nn.Module, weights: Mapping[str, np.ndarray]) -> None:
    """Copies in place, so that optimizers and other views of the parameters stay valid."""
    tensors = _tensors(model)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    checked = check_weights(weights, shapes, model_dtype(model))
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(torch.from_numpy(checked[name]))


def native_tensors(model: nn.Module) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The keys of the state_dict, which are the neutral names."""
    return {name: (name, tuple(tensor.shape)) for name, tensor in _tensors(model).items()}


def model_dtype(model: nn.Module) -> str:
    """The dtype of the model's parameters."""
    return _name(next(model.parameters()))


def to_array(tensor: Tensor) -> np.ndarray:
    """A tensor's value; NumPy has no bfloat16, so half precision becomes float32."""
    return tensor.detach().cpu().to(getattr(torch, array_dtype(_name(tensor)))).numpy()


def _name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    # num_batches_tracked is PyTorch's own counter, not a neutral tensor.
    state = model.state_dict()
    return {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
