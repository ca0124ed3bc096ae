"""How each framework's users run a model: the calls that are timed.

Every module has the same two functions, `forward(model, images)` and `train_step(model, images, labels)`.
Both return a call without arguments that does the work once and comes back only when it is done. Images
are (batch, height, width, channels) in NumPy; what is prepared once is prepared outside the call.
"""

from __future__ import annotations

import importlib
from types import ModuleType

FRAMEWORKS = ("torch", "keras", "flax")

# Small, so that a network that learns noise stays finite; the time of a step doesn't depend on it.
LEARNING_RATE = 1e-4
MOMENTUM = 0.9


def load(framework: str) -> ModuleType:
    return importlib.import_module(f"usage.{framework}_usage")
