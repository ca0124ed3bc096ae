"""A toy whose verb imports a function that the core has renamed: a failure of the toy, and no absent framework."""

from resnet_numpy import *  # noqa: F403

del predict  # noqa: F821


def __getattr__(name):
    if name == "predict":
        from resnet_core.padding import resolve_padding

        return resolve_padding
    raise AttributeError(name)
