"""Training mode: batch statistics, updated running statistics, gradients."""

from __future__ import annotations

import numpy as np

from resnet_core.backend import check_images
from resnet_core.specification import ResNetSpec
from resnet_core.weights import Weights
from resnet_numpy.model import ResNet


def train_forward(model: ResNet, images: np.ndarray, spec: ResNetSpec) -> np.ndarray | dict[str, np.ndarray]:
    """What `predict` returns, but normalized by the batch; the model's running statistics are updated.

    The running variance learns the unbiased batch variance.
    """
    return model(check_images(images), training=True)


def gradients(model: ResNet, images: np.ndarray, cotangent: np.ndarray) -> Weights:
    """{neutral name: gradient} of sum(logits * cotangent) in training mode, in float64; no state is changed.

    `cotangent` has the shape of the logits.
    """
    _, pullback, state = model.differentiate(check_images(images))
    pullback(np.asarray(cotangent, np.float64))
    return {name: state.gradients[name] for name in model.weights if name in state.gradients}
