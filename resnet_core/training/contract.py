"""What a training run is between two steps: the same arrays, by the same names, in every framework."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from resnet_core.weights import Weights


@dataclass
class TrainingState:
    """Neutral weights, the optimizer's slots and how many steps have been taken.

    `slots` is {slot: {parameter: array of its shape}} by the names in `recipe.SLOTS`; empty before the first
    step, which is the same as zeros.
    """

    weights: Weights
    slots: dict[str, Weights] = field(default_factory=dict)
    step: int = 0

    def slot(self, slot: str, name: str) -> np.ndarray:
        """One array of the optimizer, zeros before the first step."""
        return self.slots[slot][name] if slot in self.slots else np.zeros_like(self.weights[name])


@dataclass(frozen=True, slots=True)
class StepResult:
    """Mean loss of one batch before its update, and how many of its pictures were classified right."""

    loss: float
    correct: int
