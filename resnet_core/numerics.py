"""Shared arithmetic: log-probabilities without overflow, errors between arrays."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from resnet_core.tolerances import GRADIENT_FLOOR, TOLERANCES, ZERO_GRADIENT


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities along the last axis, in float64 and of the same shape."""
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)  # exp stays at or below 1
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def relative_error(value: np.ndarray, reference: np.ndarray) -> float:
    """max|value - reference| / max|reference|; infinite if shapes differ or a value is not finite."""
    if value.shape != reference.shape or not np.isfinite(value).all():
        return float("inf")
    scale = float(np.abs(reference).max(initial=0.0))
    difference = float(np.abs(value.astype(np.float64) - reference).max(initial=0.0))
    return difference / scale if scale > 0 else (0.0 if difference == 0 else float("inf"))


def relative_distance(value: np.ndarray, reference: np.ndarray) -> float:
    """|value - reference| / |reference|, the lengths of vectors; infinite if shapes differ or a value is not finite."""
    if value.shape != reference.shape or not np.isfinite(value).all():
        return float("inf")
    scale = float(np.linalg.norm(reference.astype(np.float64)))
    difference = float(np.linalg.norm(value.astype(np.float64) - reference))
    return difference / scale if scale > 0 else (0.0 if difference == 0 else float("inf"))


def gradient_errors(found: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray]) -> dict[str, float]:
    """{parameter: error} relative to the reference's gradients; infinite for one that only one side has.

    The scale of an error is the tensor's largest gradient, with a floor: a tensor with small gradients has the
    rounding errors of the whole network. For a structurally zero one, the scale is such that in float64 it must be as
    small here.
    """
    largest = max(float(np.abs(array).max()) for array in reference.values())
    zeros, zero_scale = structurally_zero(reference), largest * ZERO_GRADIENT / TOLERANCES["gradients"]["float64"]
    result = dict.fromkeys(found.keys() - reference.keys(), float("inf"))
    for name, true in reference.items():
        value = found.get(name)
        if value is None or value.shape != true.shape or not np.isfinite(value).all():
            result[name] = float("inf")
            continue
        scale = zero_scale if name in zeros else max(float(np.abs(true).max()), GRADIENT_FLOOR * largest)
        difference = float(np.abs(np.asarray(value, np.float64) - true).max())
        result[name] = difference / scale if scale else 0.0 if difference == 0 else float("inf")
    return result


def structurally_zero(gradients: Mapping[str, np.ndarray]) -> set[str]:
    """Parameters with a vanishing gradient: biases followed by a norm. With Adam, their steps would be pure noise."""
    size = {name: float(np.abs(array).max()) for name, array in gradients.items()}
    return {name for name, value in size.items() if value < ZERO_GRADIENT * max(size.values())}
