"""Images in, arrays out, in evaluation mode."""

from __future__ import annotations

import numpy as np

from resnet_core.inputs import check_images, empty_output
from resnet_numpy.model import ResNet


def predict(model: ResNet, images: np.ndarray) -> np.ndarray | dict[str, np.ndarray]:
    """Always in float64."""
    checked = check_images(images, model.channels, model.tree)
    return model(checked) if len(checked) else empty_output(model.tree, model.taps, checked, np.float64)


def modes(model: ResNet) -> dict[str, bool]:
    """A NumPy model has no mode: each call says what it is."""
    return {}
