"""A network for inference alone, as fast as JAX computes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import jax
import numpy as np

from resnet_core.folding import folded
from resnet_core.resident import Resident
from resnet_flax.inference import evaluate, evaluating, to_arrays, to_native
from resnet_flax.model import ResNet, build_tree
from resnet_flax.runtime import precision
from resnet_flax.weights import get_weights, model_dtype


def fast(model: ResNet, *, compiled: bool = True) -> ResNet:
    """Norms folded. JAX compiles every model at its first prediction, so that `compiled` changes nothing."""
    tree, weights = folded(model.tree, get_weights(model), dict(model.taps))
    if tree is model.tree:
        return evaluating(model)
    taps, dtype = tuple(name for name, _ in model.taps), model_dtype(model)
    return evaluating(build_tree(tree, channels=model.channels, weights=weights, taps=taps, dtype=dtype))


@contextmanager
def resident(model: ResNet, images: np.ndarray) -> Iterator[Resident]:
    """JAX computes behind the process on every device and has no clock there to be read: results are waited for."""
    with precision(model_dtype(model)):
        native = jax.block_until_ready(to_native(model, images))
        yield Resident(lambda: evaluate(model, native), jax.block_until_ready, to_arrays)
