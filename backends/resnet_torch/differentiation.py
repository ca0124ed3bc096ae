"""Training mode: batch statistics, updated running statistics, gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from resnet_core.specification import ResNetSpec
from resnet_core.weights import Weights
from resnet_torch.inference import mode, to_arrays, to_native
from resnet_torch.layers import DropPath

if TYPE_CHECKING:
    from resnet_torch.model import ResNet


def train_forward(
    model: ResNet, images: np.ndarray, spec: ResNetSpec | None = None
) -> np.ndarray | dict[str, np.ndarray]:
    """PyTorch's rule, an unbiased running variance, is the neutral one."""
    with mode(model, training=True), dropping(model, {}), torch.no_grad():
        return to_arrays(model(to_native(model, images, training=True)))


def gradients(model: ResNet, images: np.ndarray, cotangent: np.ndarray) -> Weights:
    """By `backward`; statistics, counters and the user's own gradients are restored."""
    state = {name: value.clone() for name, value in model.state_dict().items()}
    try:
        with mode(model, training=True), dropping(model, {}):
            output = model(to_native(model, images, training=True))
        output.backward(torch.from_numpy(np.ascontiguousarray(np.moveaxis(cotangent, -1, 1))).to(output))
        return {name: p.grad.cpu().numpy() for name, p in model.named_parameters() if p.grad is not None}
    finally:
        model.zero_grad(set_to_none=True)
        model.load_state_dict(state)


@contextmanager
def dropping(model: nn.Module, factors: Mapping[str, np.ndarray]) -> Iterator[None]:
    """Inside, random layers draw nothing: they multiply by these factors, or pass everything where there are none."""
    layers = {path: layer for path, layer in model.named_modules() if isinstance(layer, nn.Dropout | DropPath)}
    modes = {path: layer.training for path, layer in layers.items()}
    hooks = [layers[path].register_forward_hook(_multiplication(given)) for path, given in factors.items()]
    try:
        for layer in layers.values():
            layer.eval()
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for path, layer in layers.items():
            layer.training = modes[path]


def _multiplication(factors: np.ndarray) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
    channels_first = np.moveaxis(factors, -1, 1) if factors.ndim > 1 else factors

    def hook(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        given = torch.tensor(channels_first, dtype=output.dtype, device=output.device)
        return output * given.reshape(given.shape + (1,) * (output.ndim - given.ndim))

    return hook
