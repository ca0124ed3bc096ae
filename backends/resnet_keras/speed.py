"""A network for inference alone, as fast as Keras computes it."""

from __future__ import annotations

import keras

from resnet_core.errors import InputError
from resnet_core.folding import folded
from resnet_keras.model import assembled
from resnet_keras.weights import get_weights


def fast(model: keras.Model, *, compiled: bool = True) -> keras.Model:
    """Norms folded. Keras compiles every model at its first prediction, so that `compiled` changes nothing."""
    if not hasattr(model, "tree"):
        raise InputError("fast: received a model that was loaded from Keras' own file; expected one that was built")
    tree, weights = folded(model.tree, get_weights(model), model.taps)
    if tree is model.tree:
        return model
    return assembled(tree, model.inputs[0].shape[-1], weights, tuple(model.taps), model.dtype_policy, model.name)
