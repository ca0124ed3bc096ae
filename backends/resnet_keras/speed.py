"""A network for inference alone, as fast as Keras computes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np

from resnet_core.errors import InputError
from resnet_core.folding import folded
from resnet_core.resident import Resident
from resnet_keras.inference import to_arrays, to_native
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


@contextmanager
def resident(model: keras.Model, images: np.ndarray) -> Iterator[Resident]:
    """By `predict_on_batch`, as `predict` does: it returns arrays, so that their way back is in its time."""
    native = to_native(model, images)
    tensor = keras.ops.convert_to_tensor(native)
    keras.ops.convert_to_numpy(tensor[:1, :1, :1, :1])  # of one number, which comes when all are there
    yield Resident(
        lambda: model.predict_on_batch(tensor), lambda output: None, lambda output: to_arrays(output, native.dtype)
    )
