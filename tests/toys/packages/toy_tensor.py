"""A GPU that is not there, whose float32 products are what the part of its name behind two underscores says.

- `nearest`: TF32, of factors rounded to ten bits of mantissa, to nearest, ties away from zero;
- `cut`: the other bits are cut off;
- `brain`: seven bits, as bfloat16 has;
- `full`: TF32 is asked for, and nothing is rounded, as on a card that has none.
"""

import numpy as np

import resnet_numpy
from resnet_numpy import *  # noqa: F403
from resnet_numpy import lowering

KIND = __name__.partition("__")[2]

#: (bits of mantissa that are kept, whether the last of them is rounded).
FACTORS = {"nearest": (10, True), "cut": (10, False), "brain": (7, True)}


def rounded(array, kind):
    """A float array with its values in the kind's bits."""
    if kind not in FACTORS:
        return array
    kept, nearest = FACTORS[kind]
    dropped = 23 - kept
    bits = np.asarray(array, np.float32).view(np.uint32) + np.uint32(nearest << (dropped - 1))
    return (bits & np.uint32(2**32 - 2**dropped)).view(np.float32).astype(array.dtype)


def predict(model, images, kind=None):
    """As a model whose convolutions and linear layers have factors of these bits, and sums of all."""
    kind = KIND if kind is None else kind
    right = {name: getattr(lowering, name) for name in ("_conv", "_linear")}
    weights = model.weights
    model.weights = {name: rounded(array, kind) if array.ndim > 1 else array for name, array in weights.items()}
    try:
        for name, function in right.items():
            setattr(lowering, name, lambda node, x, *rest, function=function: function(node, rounded(x, kind), *rest))
        return resnet_numpy.predict(model, images)
    finally:
        model.weights = weights
        vars(lowering).update(right)


def configure(device="cpu", dtype="float32"):
    return "gpu" if device != "cpu" else "cpu"
