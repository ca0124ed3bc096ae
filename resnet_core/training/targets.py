"""What a network learns to say about a batch: the target distribution, the same for every framework."""

from __future__ import annotations

import numpy as np


def target_distribution(labels: np.ndarray, classes: int, smoothing: float) -> np.ndarray:
    """(batch, classes) float64 for class numbers (batch,): one-hot with label smoothing.

    With smoothing a, the label has (1 - a) + a / classes and every other class a / classes (Szegedy et al. 2015,
    arXiv:1512.00567, section 7; PyTorch's `label_smoothing`).
    """
    targets = np.full((len(labels), classes), smoothing / classes)
    targets[np.arange(len(labels)), labels] += 1 - smoothing
    return targets
