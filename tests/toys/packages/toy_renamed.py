"""A toy that imports a function which the core has renamed: a failure of the toy, and not an absent framework."""

from resnet_core.padding import resolve_padding  # noqa: F401
