"""Shared arithmetic: log-probabilities without overflow, errors between arrays, numbers for JSON."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


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


def finite(value: Any) -> Any:
    """The value with NaN and infinity, at any depth, replaced by None: JSON has neither."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
