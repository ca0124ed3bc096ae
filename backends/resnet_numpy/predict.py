"""Images in, arrays out, in evaluation mode."""

from __future__ import annotations

import numpy as np

from resnet_core.backend import check_images
from resnet_numpy.model import ResNet


def predict(model: ResNet, images: np.ndarray) -> np.ndarray | dict[str, np.ndarray]:
    """Logits of images (batch, height, width, channels), or {tap: array} when built with taps, in float64."""
    return model(check_images(images))
