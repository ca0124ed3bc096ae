"""Images in, arrays out, in evaluation mode."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from resnet_core.backend import check_images


def predict(model: keras.Model, images: np.ndarray) -> np.ndarray | dict[str, np.ndarray]:
    """Logits of images (batch, height, width, channels), or {tap: array} when built with taps."""
    return to_arrays(model.predict_on_batch(to_native(model, images)))


def to_native(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """The images in the model's dtype; Keras takes them as they are."""
    return np.asarray(check_images(images), model.inputs[0].dtype)


def to_arrays(output: Any) -> np.ndarray | dict[str, np.ndarray]:
    """Tensors to arrays; they are channels last already."""
    if isinstance(output, dict):
        return {tap: np.asarray(keras.ops.convert_to_numpy(tensor)) for tap, tensor in output.items()}
    return np.asarray(keras.ops.convert_to_numpy(output))
