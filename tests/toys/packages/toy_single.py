"""A backend that has no float64 at all, and says so."""

import resnet_numpy
from resnet_numpy import *  # noqa: F403


def exact_float64():
    return False


def configure(device="cpu", dtype="float32"):
    _refuse(dtype)
    return resnet_numpy.configure(device, dtype)


def build(spec, *, weights=None, seed=0, taps=(), dtype=None):
    _refuse(dtype)
    return resnet_numpy.build(spec, weights=weights, seed=seed, taps=taps, dtype="float32")


def Trainer(spec, recipe, state, *, dtype=None):
    _refuse(dtype)
    return resnet_numpy.Trainer(spec, recipe, state, dtype="float32")


Trainer.inputs = resnet_numpy.Trainer.inputs


def _refuse(dtype):
    if dtype == "float64":
        raise ValueError("this toy was asked for float64")
