"""Training mode: batch statistics, updated running statistics, gradients."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from flax import nnx

from resnet_core.specification import ResNetSpec
from resnet_core.training.running_variance import unbiased_variances
from resnet_core.weights import Weights
from resnet_flax.inference import forward, to_arrays, to_native
from resnet_flax.runtime import precision
from resnet_flax.weights import get_weights, model_dtype, neutral_name, set_weights, to_neutral


def train_forward(
    model: nnx.Module, images: np.ndarray, spec: ResNetSpec | None = None
) -> np.ndarray | dict[str, np.ndarray]:
    """Flax updates with the biased variance; the neutral, unbiased rule is applied afterward."""
    before = get_weights(model)
    with precision(model_dtype(model)):
        output = to_arrays(
            forward(
                nnx.view(model, use_running_average=False, deterministic=True, raise_if_not_found=False),
                to_native(model, images, training=True),
            )
        )
    after = get_weights(model)
    set_weights(model, {**after, **unbiased_variances(model.tree, images.shape, before, after)})
    return output


def gradients(model: nnx.Module, images: np.ndarray, cotangent: np.ndarray) -> Weights:
    """By a compiled `nnx.grad` of a view; the statistics are restored."""
    before = get_weights(model)
    dtype = model_dtype(model)
    try:
        with precision(dtype):
            weights = jnp.asarray(np.asarray(cotangent, dtype))
            view = nnx.view(model, use_running_average=False, deterministic=True, raise_if_not_found=False)
            state = _gradients(view, to_native(model, images, training=True), weights)
            return {neutral_name(path): to_neutral(value.get_value()) for path, value in nnx.to_flat_state(state)}
    finally:
        set_weights(model, before)


@nnx.jit
def _gradients(model: nnx.Module, images: jnp.ndarray, cotangent: jnp.ndarray) -> nnx.State:
    return nnx.grad(lambda model: (model(images) * cotangent).sum())(model)
