"""A backend that computes right, differentiates a little wrong, and forgets weight decay."""

import msgspec

import resnet_numpy
from resnet_numpy import *  # noqa: F403


def gradients(model, images, cotangent):
    found = resnet_numpy.gradients(model, images, cotangent)
    return {name: (1 + 1e-9) * array for name, array in found.items()}


def Trainer(spec, recipe, state, *, dtype=None):
    return resnet_numpy.Trainer(spec, msgspec.structs.replace(recipe, weight_decay=0.0), state, dtype=dtype)


Trainer.inputs = resnet_numpy.Trainer.inputs
