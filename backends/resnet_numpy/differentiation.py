"""Training mode: batch statistics, updated running statistics, gradients."""

from __future__ import annotations

import numpy as np

from resnet_core.specification import ResNetSpec
from resnet_core.weights import Weights
from resnet_numpy.inference import to_native
from resnet_numpy.model import ResNet


def train_forward(
    model: ResNet, images: np.ndarray, spec: ResNetSpec | None = None
) -> np.ndarray | dict[str, np.ndarray]:
    """Always in float64; the statistics are stored in the model's dtype."""
    return model(to_native(model, images, training=True), training=True)


def gradients(model: ResNet, images: np.ndarray, cotangent: np.ndarray) -> Weights:
    """By the pullbacks of `lowering.py`, in float64."""
    _, pullback, context = model.differentiate(to_native(model, images, training=True))
    pullback(np.asarray(cotangent, np.float64))
    return {name: context.gradients[name] for name in model.weights if name in context.gradients}
