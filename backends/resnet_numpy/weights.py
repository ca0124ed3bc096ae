"""Neutral weights in and out of a NumPy model, which stores them directly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from resnet_core.weights import Weights, check_weights

if TYPE_CHECKING:
    from resnet_numpy.model import ResNet


def get_weights(model: ResNet) -> Weights:
    """Copies of the model's weights."""
    return {name: array.copy() for name, array in model.weights.items()}


def set_weights(model: ResNet, weights: Mapping[str, np.ndarray]) -> None:
    """Replaces the model's weights with copies."""
    shapes = {name: array.shape for name, array in model.weights.items()}
    checked = check_weights(weights, shapes, next(iter(model.weights.values())).dtype.name)
    model.weights = {name: array.copy() for name, array in checked.items()}


def native_tensors(model: ResNet) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The keys of `model.weights`, which are the neutral names."""
    return {name: (name, array.shape) for name, array in model.weights.items()}
