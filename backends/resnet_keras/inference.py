"""Inference: from images to arrays, in evaluation mode."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from resnet_core.inputs import check_images, empty_output
from resnet_core.weights import array_dtype


def predict(model: keras.Model, images: np.ndarray) -> np.ndarray | dict[str, np.ndarray]:
    """By Keras' `predict_on_batch`, compiled once for each image size."""
    tree = getattr(model, "tree", None)  # a model loaded from a file has lost it
    native = to_native(model, images)
    if not len(native) and tree is not None:
        return empty_output(tree, model.taps, native, native.dtype)
    return to_arrays(model.predict_on_batch(native), native.dtype)


def modes(model: keras.Model) -> dict[str, bool]:
    """Keras models have no mode: it is an argument of each call."""
    return {}


def to_native(model: keras.Model, images: np.ndarray, *, training: bool = False) -> np.ndarray:
    """The images, checked, in the model's dtype, to which Keras rounds by itself; it has the same layout."""
    given, tree = model.inputs[0], getattr(model, "tree", None)
    checked = check_images(images, given.shape[-1], tree, training=training, dtype=given.dtype)
    return np.asarray(checked, array_dtype(given.dtype))


def to_arrays(output: Any, dtype: np.dtype) -> np.ndarray | dict[str, np.ndarray]:
    """Tensors to arrays of the model's dtype, also from mixed precision; they are already channels last."""
    return keras.tree.map_structure(lambda tensor: np.asarray(keras.ops.convert_to_numpy(tensor), dtype), output)
