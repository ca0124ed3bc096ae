"""Inference: from images to arrays, in evaluation mode."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from resnet_core.inputs import check_images, empty_output
from resnet_torch.weights import model_dtype, to_array

if TYPE_CHECKING:
    from resnet_torch.model import ResNet


def predict(model: ResNet, images: np.ndarray) -> np.ndarray | dict[str, np.ndarray]:
    """PyTorch computes channels first; inputs and outputs here are channels last."""
    native = to_native(model, images)
    if not len(native):
        return empty_output(model.tree, model.taps, np.asarray(images), model_dtype(model))
    with evaluating(model, native):
        return to_arrays(model(native))


def modes(model: nn.Module) -> dict[str, bool]:
    """{module: whether it is in training mode}."""
    return {name: module.training for name, module in model.named_modules()}


@contextmanager
def evaluating(model: nn.Module, images: Tensor) -> Iterator[None]:
    """Evaluation mode, without gradients.

    On a GPU without inference mode: a CUDA graph that was captured in it cannot be captured anew outside
    (pytorch#135892, #166792), where the owner of the model may call it.
    """
    with mode(model, training=False), torch.inference_mode(not images.is_cuda), torch.no_grad():
        yield


@contextmanager
def mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Training or evaluation mode inside; afterward every module has its earlier mode again, even a frozen norm."""
    before = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, own in before:
            module.training = own


def ready_to_compile(model: ResNet) -> ResNet:
    """The same model, once Python allows the recursion of inductor, which descends layer by layer (ResNet-1202)."""
    sys.setrecursionlimit(max(sys.getrecursionlimit(), 1000 + 2 * len(list(model.modules()))))
    return model


def to_native(model: ResNet, images: np.ndarray, *, training: bool = False) -> Tensor:
    """(batch, height, width, channels), checked, to (batch, channels, height, width) on the model's device."""
    checked = check_images(images, model.channels, model.tree, training=training, dtype=model_dtype(model))
    parameter = next(model.parameters())
    # A copy, for its strides: a view of one channel is contiguous too, but PyTorch treats it as channels_last, and its
    # norms sum channels_last in plain float32 (error 1e-3 if a channel's mean is 8 deviations; otherwise 1e-7).
    channels_first = np.array(checked.transpose(0, 3, 1, 2), order="C")
    return torch.from_numpy(channels_first).to(parameter.device, parameter.dtype)


def to_arrays(output: Tensor | dict[str, Tensor]) -> np.ndarray | dict[str, np.ndarray]:
    """Tensors to arrays, channels last."""
    if isinstance(output, dict):
        return {tap: _array(tensor) for tap, tensor in output.items()}
    return _array(output)


def _array(tensor: Tensor) -> np.ndarray:
    return np.ascontiguousarray(to_array(tensor.movedim(1, -1)))
