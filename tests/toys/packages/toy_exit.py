"""A backend that ends its process in build."""

import os

from resnet_numpy import *  # noqa: F403


def build(spec, *, weights=None, seed=0, taps=(), dtype=None):
    print("this toy leaves", flush=True)
    os._exit(3)
