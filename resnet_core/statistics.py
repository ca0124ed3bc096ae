"""BatchNorm's running variance, made the same everywhere.

PyTorch updates it with the unbiased batch variance (n / (n - 1)), Keras and Flax with the biased one. The
neutral rule is PyTorch's. Built models consist of native layers, so a model that a user trains in Keras or
Flax updates as those do; this project's own training corrects the update afterwards, here.
"""

from __future__ import annotations

import numpy as np

from resnet_core.analysis import layers
from resnet_core.errors import InputError
from resnet_core.initialize import Weights
from resnet_core.spec import ResNetSpec
from resnet_core.tree import BatchNorm


def unbiased_variances(spec: ResNetSpec, images: np.ndarray, before: Weights, after: Weights) -> Weights:
    """{name: running variance} as the unbiased rule gives it, from a biased update from `before` to `after`.

    `images` (batch, height, width, channels) is the batch of that update. Raises InputError where a norm
    saw a single value per channel: its variance has no unbiased estimate.
    """
    corrected: Weights = {}
    batch, height, width = images.shape[:3]
    for layer in layers(spec, (height, width)):
        if isinstance(layer.leaf, BatchNorm):
            name = f"{layer.path}.running_var"
            count = batch * int(np.prod(layer.input_shape[:-1]))
            if count < 2:
                raise InputError(f"{layer.path}: one value per channel in training; use a larger batch or image")
            kept = layer.leaf.decay * before[name]
            corrected[name] = (kept + (after[name] - kept) * (count / (count - 1))).astype(after[name].dtype)
    return corrected
