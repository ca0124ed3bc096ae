"""A backend that computes right and differentiates as its name says behind two underscores: negated, zero, none, lost,
renamed, infinite or listed."""

import numpy as np

import resnet_numpy
from resnet_numpy import *  # noqa: F403


def gradients(model, images, cotangent):
    found = resnet_numpy.gradients(model, images, cotangent)
    first = next(iter(found))
    return {
        "right": lambda: found,
        "negated": lambda: {name: -array for name, array in found.items()},
        "zero": lambda: {name: 0 * array for name, array in found.items()},
        "none": lambda: None,
        "lost": lambda: {name: array for name, array in found.items() if name != first},
        "renamed": lambda: {name.replace(".conv1.", ".conv_1."): array for name, array in found.items()},
        "infinite": lambda: {**found, first: found[first] + np.inf},
        "listed": lambda: list(found.values()),
    }[__name__.partition("__")[2]]()
