"""What a precision below float32 is asked before it is timed: each convolution by itself, and a training step."""

from __future__ import annotations

from typing import Any

from resnet_core.benchmark.precision import Precision
from resnet_core.benchmark.proof import Verdict, shape_problem, step_used
from resnet_core.benchmark.shapes import convolutions, described, shape_error
from resnet_core.benchmark.steps import distance_from_float32
from resnet_core.specification import ResNetSpec


def asked(
    backend: Any,
    spec: ResNetSpec,
    size: tuple[int, int],
    precision: Precision,
    *,
    batch: int,
    fast: bool,
    training: bool,
) -> Verdict:
    """Whether the backend computes each convolution of the network right, in whichever form, and trains in it."""
    if precision.reduced is None:
        return Verdict(None)
    for convolution, shape in convolutions(spec, size):
        error = shape_error(backend, convolution, shape, precision, batch=batch, fast=fast, training=training)
        if (problem := shape_problem(described(convolution, shape), error, precision.reduced)) is not None:
            return Verdict(None, problem)
    if training:
        return step_used(distance_from_float32(backend, spec, precision), precision.reduced)
    return Verdict(None)
