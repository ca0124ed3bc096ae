"""The trained network that ships with the package: a ResNet-20 for Fashion-MNIST, and pictures it never saw.

It was trained by this project with the recipe `fashion-resnet20`; the log and the recipe are stored with the weights.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from resnet_core.data.images import sample_fashion
from resnet_core.data.prepare import normalized
from resnet_core.preparation import standard_preparation
from resnet_core.specification import ResNetSpec
from resnet_core.weight_file import load_weights
from resnet_core.weights import Weights

FOLDER = Path(__file__).parents[1] / "trained"


def shipped_model() -> tuple[Weights, ResNetSpec]:
    """The network's (weights, spec), in float32."""
    return load_weights(FOLDER / "fashion_resnet20.safetensors")


def shipped_images() -> tuple[np.ndarray, np.ndarray]:
    """(images, classes) of the shipped test pictures: (100, 28, 28, 1) float32, normalized as in the recipe; (100,)."""
    images, labels = sample_fashion()
    return normalized(images, standard_preparation((28, 28), 1)), labels
