"""Inference: from images to arrays, in evaluation mode."""

from __future__ import annotations

import numpy as np

from resnet_core.inputs import check_images, empty_output
from resnet_numpy.model import ResNet


def predict(model: ResNet, images: np.ndarray) -> np.ndarray | dict[str, np.ndarray]:
    """Always in float64."""
    native = to_native(model, images)
    return model(native) if len(native) else empty_output(model.tree, model.taps, native, np.float64)


def modes(model: ResNet) -> dict[str, bool]:
    """A NumPy model has no mode: it is an argument of each call."""
    return {}


def to_native(model: ResNet, images: np.ndarray, *, training: bool = False) -> np.ndarray:
    """The images, checked, in float64."""
    return np.asarray(check_images(images, model.channels, model.tree, training=training), np.float64)
