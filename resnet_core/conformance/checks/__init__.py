"""The checks, a subject a file; importing this package registers all of them, in the order of the report."""

from resnet_core.conformance.checks import (  # noqa: I001  (the order is the report's)
    declaration,
    weights,
    inference,
    half_precision,
    training_mode,
    gradients,
    trainer,
    names,
    convolution_dtype,
    parallel,
    speed,
)

__all__ = [
    "convolution_dtype",
    "declaration",
    "gradients",
    "half_precision",
    "inference",
    "names",
    "parallel",
    "speed",
    "trainer",
    "training_mode",
    "weights",
]
