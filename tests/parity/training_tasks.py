"""What the NumPy worker is asked in the training tests: directional derivatives of its forward pass."""

from __future__ import annotations

from typing import Any

import numpy as np

import resnet_core as rn
import resnet_numpy
from resnet_core.worker import Arrays

#: Step of the central difference: rounding costs 1e-16 / 1e-6, curvature 1e-12.
STEP = 1e-6


def directional_derivatives(session: Any, arrays: Arrays, *, spec: str) -> tuple[None, Arrays]:
    """{parameter: d/dh sum(output * cotangent) along `direction.PARAMETER`}, training mode, float64."""
    resolved = rn.from_json(spec)
    weights = {name: arrays[f"weight.{name}"] for name in rn.state(resolved)}
    model = resnet_numpy.build(resolved, weights=weights, dtype="float64")

    def value(name: str, step: float) -> float:
        # Only the running statistics learn in a training pass, and training mode does not read them.
        model.weights[name] = weights[name] + step * arrays[f"direction.{name}"]
        output = model(arrays["images"], training=True)
        model.weights[name] = weights[name]
        return float((output * arrays["cotangent"]).sum())

    return None, {
        name: np.array((value(name, STEP) - value(name, -STEP)) / (2 * STEP)) for name in rn.parameters(resolved)
    }


def inference_gradients(session: Any, arrays: Any, *, planted: bool) -> tuple[None, None]:
    """A planted defect: gradients that take the batch statistics for constants (PyTorch's worker)."""
    from torch import nn

    forward = nn.functional.batch_norm

    def detached(
        x: Any, mean: Any, variance: Any, weight: Any, bias: Any, training: bool, *rest: Any, **named: Any
    ) -> Any:
        if training:
            mean, variance = x.detach().mean((0, 2, 3)), x.detach().var((0, 2, 3), correction=0)
        return forward(x, mean, variance, weight, bias, False, *rest, **named)

    if planted:
        session.original = forward
        nn.functional.batch_norm = detached
    else:
        nn.functional.batch_norm = session.original
    return None, None
