"""A backend that raises in build."""

from resnet_numpy import *  # noqa: F403


def build(spec, *, weights=None, seed=0, taps=(), dtype=None):
    raise ValueError("this toy cannot build")
