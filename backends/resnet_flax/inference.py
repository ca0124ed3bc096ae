"""Inference: from images to arrays, in evaluation mode."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from resnet_core.engines import inference_options
from resnet_core.inputs import check_images, empty_output
from resnet_core.weights import array_dtype, as_array
from resnet_flax.convolution import BY_ONEDNN
from resnet_flax.runtime import precision
from resnet_flax.weights import model_dtype

Module = TypeVar("Module", bound=nnx.Module)


def predict(model: nnx.Module, images: np.ndarray) -> np.ndarray | dict[str, np.ndarray]:
    """Evaluates a view, so that the model's mode is unchanged."""
    with precision(model_dtype(model)):
        native = to_native(model, images)
        if not len(native):
            return empty_output(model.tree, dict(model.taps), native, model_dtype(model))
        return to_arrays(evaluate(model, native))


def evaluate(model: nnx.Module, images: Array) -> Array | dict[str, Array]:
    """The output in evaluation mode, compiled once per architecture and image shape."""
    return _compiled()(model, images)  # type: ignore[no-any-return]


@cache
def _compiled() -> Any:
    """`evaluate` under `jax.jit`, with the options for the device that JAX has.

    Nothing in the model changes, so that it may be a pytree like any other: NNX's own `jit` looks for what does, and a
    view made outside is a walk too, which takes 20 ms for ResNet-20, whatever the images.
    """
    options = inference_options() if jax.default_backend() == "cpu" else {}

    def evaluate(model: nnx.Module, images: Array) -> Array | dict[str, Array]:
        token = BY_ONEDNN.set(bool(options))
        try:
            return evaluating(model)(images)  # type: ignore[operator,no-any-return]
        finally:
            BY_ONEDNN.reset(token)

    return jax.jit(evaluate, compiler_options=options or None)


def evaluating(model: Module) -> Module:
    """A view of the model in evaluation mode; both have the same variables."""
    return nnx.view(model, use_running_average=True, deterministic=True, raise_if_not_found=False)


def modes(model: nnx.Module) -> dict[str, bool]:
    """{layer: whether it is in training mode} of norms and dropouts; nothing else here has a mode."""
    return {
        ".".join(map(str, path)): not (
            node.use_running_average if isinstance(node, nnx.BatchNorm) else node.deterministic
        )
        for path, node in nnx.iter_graph(model)
        if isinstance(node, nnx.BatchNorm | nnx.Dropout)
    }


@nnx.jit
def forward(model: nnx.Module, images: Array) -> Array | dict[str, Array]:
    """The model's output, compiled once per architecture and image shape; what it changes in the model is kept."""
    return model(images)  # type: ignore[operator]


def to_native(model: nnx.Module, images: np.ndarray, *, training: bool = False) -> Array:
    """The images, checked, in the model's dtype; Flax has the same layout."""
    dtype = model_dtype(model)
    checked = check_images(images, model.channels, model.tree, training=training, dtype=dtype)
    return jnp.asarray(np.asarray(checked, array_dtype(dtype)), dtype)


def to_arrays(output: Array | dict[str, Array]) -> np.ndarray | dict[str, np.ndarray]:
    """JAX arrays to NumPy; they are already channels last."""
    if isinstance(output, dict):
        return {tap: as_array(np.asarray(array)) for tap, array in output.items()}
    return as_array(np.asarray(output))
