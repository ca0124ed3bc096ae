"""The timed calls: how each framework's users run a model.

Every module has the same two functions, `forward(model, images)` and `train_step(model, images, labels)`.
Both return a function without arguments that does the work once and returns only when it is done. Images are
(batch, height, width, channels) in NumPy; one-time preparation happens outside that function.
"""

from __future__ import annotations

import importlib
from types import ModuleType

FRAMEWORKS = ("torch", "keras", "flax")

# Small, so that a network trained on noise stays finite; it does not affect the time of a step.
LEARNING_RATE = 1e-4
MOMENTUM = 0.9


def load(framework: str) -> ModuleType:
    return importlib.import_module(f"usage.{framework}_usage")
