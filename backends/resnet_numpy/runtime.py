"""What is global to a NumPy process: nothing but its version."""

from __future__ import annotations

import numpy as np

from resnet_core.errors import InputError


def configure(device: str = "cpu", dtype: str = "float32") -> str:
    """Nothing to set up. Returns "cpu"; raises InputError where a GPU is demanded."""
    if device == "gpu":
        raise InputError("NumPy computes on the CPU only; choose the device cpu")
    return "cpu"


def exact_float64() -> bool:
    """Everything here is exact in float64."""
    return True


def peak_device_memory() -> int:
    """Nothing is on a GPU."""
    return 0


def random_state() -> None:
    """NumPy's own global generator belongs to the process, and is looked at for every backend."""


def versions() -> dict[str, str]:
    """NumPy's."""
    return {"numpy": np.__version__}
