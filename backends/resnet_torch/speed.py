"""A network for inference alone, as fast as PyTorch computes it."""

from __future__ import annotations

import os
import shutil
import warnings

import torch

from resnet_core.folding import folded
from resnet_torch.model import ResNet, build_tree
from resnet_torch.weights import get_weights, model_dtype


def fast(model: ResNet, *, compiled: bool = True) -> ResNet:
    """Norms folded, channels last in memory; compiled by inductor with its weights as constants (`freezing`).

    Only of constants does inductor fuse a convolution with the addition and the ReLU behind it. The first prediction of
    an image size then takes seconds to minutes, and a C++ compiler; without one a warning says so and nothing is
    compiled.
    """
    tree, weights = folded(model.tree, get_weights(model), model.taps)
    device = next(model.parameters()).device
    quick = build_tree(tree, channels=model.channels, weights=weights, taps=tuple(model.taps), dtype=model_dtype(model))
    quick = quick.eval().requires_grad_(False)
    quick.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if compiled and device.type == "cpu" and shutil.which(compiler := os.environ.get("CXX", "c++")) is None:
        warnings.warn(f"no C++ compiler {compiler!r} was found, so that nothing is compiled; set CXX", stacklevel=2)
    elif compiled:
        quick.compile(options={"freezing": True})
    return quick
