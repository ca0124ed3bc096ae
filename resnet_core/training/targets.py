"""The target distribution of a batch, the same for every framework."""

from __future__ import annotations

import numpy as np


def target_distribution(labels: np.ndarray, classes: int, smoothing: float) -> np.ndarray:
    """One-hot targets with label smoothing, (batch, classes) float64, of the class numbers `labels` (batch,).

    With smoothing a, the label's class has probability (1 - a) + a / classes and every other class a / classes
    (Szegedy et al. 2015, arXiv:1512.00567, section 7; PyTorch's `label_smoothing`).
    """
    targets = np.full((len(labels), classes), smoothing / classes)
    targets[np.arange(len(labels)), labels] += 1 - smoothing
    return targets
