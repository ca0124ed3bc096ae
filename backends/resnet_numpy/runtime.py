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
    """Whether float64 models compute in float64 throughout."""
    return True


def peak_device_memory() -> int:
    """Nothing is on a GPU."""
    return 0


def synchronize(output: object) -> None:
    """Nothing to wait for."""


def versions() -> dict[str, str]:
    """{package: version} of what computes here."""
    return {"numpy": np.__version__}
