"""Training mode: batch statistics, updated running statistics, gradients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

from resnet_core.specification import ResNetSpec
from resnet_core.weights import Weights
from resnet_torch.inference import mode, to_arrays, to_native
from resnet_torch.layers import RandomLayer

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
def dropping(model: ResNet, factors: Mapping[str, np.ndarray]) -> Iterator[None]:
    """Inside, random layers multiply by these factors, or by nothing where there are none."""
    layers = {path: module for path, module in model.named_modules() if isinstance(module, RandomLayer)}
    parameter = next(model.parameters())
    try:
        for path, layer in layers.items():
            layer.passing = path not in factors
            if not layer.passing:
                given = factors[path]
                channels_first = np.moveaxis(given, -1, 1) if given.ndim > 2 else given
                layer.factors = torch.tensor(channels_first, device=parameter.device, dtype=parameter.dtype)
        yield
    finally:
        for layer in layers.values():
            layer.passing, layer.factors = False, None
