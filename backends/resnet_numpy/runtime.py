"""Global state of a NumPy process: only its version."""

from __future__ import annotations

import numpy as np

from resnet_core.engines import on_device
from resnet_core.errors import InputError


def configure(device: str = "cpu", dtype: str = "float32") -> str:
    """Nothing to set up. Returns "cpu"; raises InputError if a GPU is requested, or TF32."""
    if device == "gpu":
        raise InputError("NumPy computes on the CPU only; choose the device cpu")
    return on_device("cpu", dtype)


def exact_float64() -> bool:
    """Everything here computes in exact float64."""
    return True


def peak_device_memory() -> int:
    """Always 0: nothing is on a GPU."""
    return 0


def random_state() -> None:
    """None: NumPy's global generator is checked for every backend anyway."""


def versions() -> dict[str, str]:
    """NumPy's."""
    return {"numpy": np.__version__}
