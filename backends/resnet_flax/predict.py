"""Images in, arrays out, in evaluation mode."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from resnet_core.backend import check_images
from resnet_flax.runtime import precision
from resnet_flax.weights import model_dtype


def predict(model: nnx.Module, images: np.ndarray) -> np.ndarray | dict[str, np.ndarray]:
    """Logits of images (batch, height, width, channels), or {tap: array} when built with taps.

    The model's mode is untouched: a view of it is evaluated.
    """
    with precision(model_dtype(model)):
        return to_arrays(forward(nnx.view(model, use_running_average=True), to_native(model, images)))


@nnx.jit
def forward(model: nnx.Module, images: Array) -> Array | dict[str, Array]:
    """The model's output, compiled once per architecture and image shape."""
    return model(images)  # type: ignore[operator]


def to_native(model: nnx.Module, images: np.ndarray) -> Array:
    """The images in the model's dtype; Flax takes them as they are."""
    return jnp.asarray(np.asarray(check_images(images), model_dtype(model)))


def to_arrays(output: Array | dict[str, Array]) -> np.ndarray | dict[str, np.ndarray]:
    """Arrays to NumPy; they are channels last already."""
    if isinstance(output, dict):
        return {tap: np.asarray(array) for tap, array in output.items()}
    return np.asarray(output)
