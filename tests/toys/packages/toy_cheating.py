"""A backend that looks faster, or slower, than it is, in the way that its name says behind two underscores.

Where nothing is said of a kind, it computes right.
"""

import time
import warnings

import numpy as np
from msgspec.structs import replace

import resnet_numpy
from resnet_core.architecture import layer_tree
from resnet_core.initialization import initialize, residual_ends
from resnet_core.weights import HALF
from resnet_numpy import *  # noqa: F403

KIND = __name__.partition("__")[2]

#: Seconds that something takes which must, or must not, be in the time of a call.
COMPILING, COMPUTING, PREPARING, HICCUP = 0.5, 0.05, 0.05, 0.2


def build(spec, *, weights=None, seed=0, taps=(), dtype=None):
    weights = dict(initialize(spec, seed) if weights is None else weights)
    if KIND == "another":
        spec = replace(spec, norm_epsilon=1e-3)
    if KIND == "shortcuts":  # no residual body is computed
        for path in residual_ends(layer_tree(spec)):
            weights[f"{path}.weight"] = 0 * weights[f"{path}.weight"]
    return build_tree(layer_tree(spec), channels=spec.in_channels, weights=weights, taps=taps, dtype=dtype)


def build_tree(tree, *, channels, weights, taps=(), dtype=None):
    if KIND == "shape" and dtype in HALF:  # of one shape alone, as much as a network may differ by
        weights = {k: 1.03 * w if w.shape == (3, 2, 3, 3) else w for k, w in weights.items()}
    dtype = None if dtype in HALF else dtype  # as if it were another precision: nothing is rounded
    model = resnet_numpy.build_tree(tree, channels=channels, weights=weights, taps=taps, dtype=dtype)
    model.calls, model.seen, model.kept, model.hasty = 0, set(), None, False
    return model


def fast(model, *, compiled=True):
    if KIND == "hasty":
        warnings.warn("nothing is compiled here", stacklevel=2)
    model.hasty = True
    return model


def predict(model, images):
    model.calls += 1
    kinds = {
        "rounded": lambda: resnet_numpy.predict(model, images.astype(np.float16).astype(np.float32)),
        "compiling": lambda: _compiled(model, images),
        "lazy": lambda: _Later(model, images),
        "prepared": lambda: _prepared(model, images),
        "half": lambda: np.resize(resnet_numpy.predict(model, images[:1]), (len(images), model_classes(model))),
        "hiccup": lambda: _hiccup(model, images),
        "mode": lambda: resnet_numpy.train_forward(model, images),
        "hasty": lambda: (1.001 if model.hasty else 1) * resnet_numpy.predict(model, images),
        "stale": lambda: _stale(model, images),
    }
    return kinds[KIND]() if KIND in kinds else resnet_numpy.predict(model, images)


def model_classes(model):
    return model.weights["head.linear.bias"].size


def _compiled(model, images):
    if model.calls == 1:
        time.sleep(COMPILING)
    return resnet_numpy.predict(model, images)


class _Later:
    """What has not been computed yet."""

    def __init__(self, model, images):
        self.model, self.images = model, images

    def __array__(self, dtype=None, copy=None):
        time.sleep(COMPUTING)
        return np.asarray(resnet_numpy.predict(self.model, self.images), dtype)


def _prepared(model, images):
    """Pictures that it has seen come from a store."""
    if images.tobytes() not in model.seen:
        time.sleep(PREPARING)
    model.seen.add(images.tobytes())
    return resnet_numpy.predict(model, images)


def _hiccup(model, images):
    if model.calls % 20 == 0:
        time.sleep(HICCUP)
    return resnet_numpy.predict(model, images)


def _stale(model, images):
    """From the third call on, what it computed for the second."""
    if model.calls < 3:
        model.kept = resnet_numpy.predict(model, images)
    return model.kept


class Trainer(resnet_numpy.Trainer):
    def step(self, inputs):
        before = {name: array.copy() for name, array in self.model.weights.items()}
        result = super().step(inputs)
        if KIND == "idle":
            self.model.weights = before
        return result
