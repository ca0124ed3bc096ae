"""Images in, arrays out, in evaluation mode."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from resnet_core.inputs import check_images, empty_output
from resnet_flax.runtime import precision
from resnet_flax.weights import model_dtype


def predict(model: nnx.Module, images: np.ndarray) -> np.ndarray | dict[str, np.ndarray]:
    """The model's mode is untouched: a view of it is evaluated."""
    checked = check_images(images, model.channels, model.tree)
    if not len(checked):
        return empty_output(model.tree, dict(model.taps), checked, model_dtype(model))
    with precision(model_dtype(model)):
        return to_arrays(forward(nnx.view(model, use_running_average=True, raise_if_not_found=False), to_native(model, checked)))


def modes(model: nnx.Module) -> dict[str, bool]:
    """{norm: whether it normalizes by the batch}; nothing else here has a mode."""
    return {
        ".".join(map(str, path)): not node.use_running_average
        for path, node in nnx.iter_graph(model)
        if isinstance(node, nnx.BatchNorm)
    }


@nnx.jit
def forward(model: nnx.Module, images: Array) -> Array | dict[str, Array]:
    """The model's output, compiled once per architecture and image shape."""
    return model(images)  # type: ignore[operator]


def to_native(model: nnx.Module, images: np.ndarray) -> Array:
    """The images in the model's dtype; Flax takes them as they are."""
    return jnp.asarray(np.asarray(images, model_dtype(model)))


def to_arrays(output: Array | dict[str, Array]) -> np.ndarray | dict[str, np.ndarray]:
    """Arrays to NumPy; they are channels last already."""
    if isinstance(output, dict):
        return {tap: np.asarray(array) for tap, array in output.items()}
    return np.asarray(output)
