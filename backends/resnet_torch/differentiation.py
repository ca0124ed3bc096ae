"""Training mode: batch statistics, updated running statistics, gradients."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from resnet_core.specification import ResNetSpec
from resnet_core.weights import Weights
from resnet_torch.predict import mode, to_arrays, to_native


def train_forward(model: nn.Module, images: np.ndarray, spec: ResNetSpec) -> np.ndarray | dict[str, np.ndarray]:
    """What `predict` returns, but normalized by the batch; the model's running statistics are updated.

    PyTorch's own rule, an unbiased running variance, is the neutral one.
    """
    with mode(model, training=True), torch.no_grad():
        return to_arrays(model(to_native(model, images)))


def gradients(model: nn.Module, images: np.ndarray, cotangent: np.ndarray) -> Weights:
    """{neutral name: gradient} of sum(logits * cotangent) in training mode; no state is changed.

    `cotangent` has the shape of the logits, channels last.
    """
    state = {name: value.clone() for name, value in model.state_dict().items()}
    try:
        with mode(model, training=True):
            output = model(to_native(model, images))
        output.backward(torch.from_numpy(np.ascontiguousarray(np.moveaxis(cotangent, -1, 1))).to(output))
        return {name: p.grad.cpu().numpy() for name, p in model.named_parameters() if p.grad is not None}
    finally:
        model.zero_grad(set_to_none=True)
        model.load_state_dict(state)
