"""Training mode: batch statistics, updated running statistics."""

from __future__ import annotations

import numpy as np

from resnet_core.backend import check_images
from resnet_core.spec import ResNetSpec
from resnet_numpy.model import ResNet


def train_forward(model: ResNet, images: np.ndarray, spec: ResNetSpec) -> np.ndarray | dict[str, np.ndarray]:
    """What `predict` returns, but normalised by the batch; the model's running statistics are updated.

    The running variance learns the unbiased batch variance.
    """
    return model(check_images(images), training=True)
