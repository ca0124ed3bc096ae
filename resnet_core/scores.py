"""What logits say: probabilities, without an overflow."""

from __future__ import annotations

import numpy as np


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Logarithms of the probabilities along the last axis, in float64."""
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)  # exp stays at or below 1
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
