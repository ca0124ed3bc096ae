"""Global state of a PyTorch process: device, precision, versions."""

from __future__ import annotations

import torch

from resnet_core.engines import on_device, tell_torch
from resnet_core.errors import InputError


def configure(device: str = "cpu", dtype: str = "float32") -> str:
    """Set up the process before the first model: `device` is "cpu", "gpu" or "auto". Returns "cpu" or "gpu".

    On a GPU, TF32 is off, so that float32 means float32; with the dtype "tf32" it is on. Raises InputError if no GPU is
    visible.
    """
    if device == "gpu" and not torch.cuda.is_available():
        raise InputError(f"no GPU is visible to PyTorch {torch.__version__}; choose the device cpu")
    device = on_device("gpu" if device != "cpu" and torch.cuda.is_available() else "cpu", dtype)
    tell_torch(torch, dtype)
    # The CPU is PyTorch's own default. Named, it would pass every call through Python: 1 us each, 2% of a step of
    # ResNet-20 on 64 small images.
    torch.set_default_device("cuda" if device == "gpu" else None)
    return device


def exact_float64() -> bool:
    """Everything here computes in exact float64."""
    return True


def peak_device_memory() -> int:
    """Peak memory of tensors on the GPU in bytes; 0 on a CPU."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0


def random_state() -> tuple[bytes, ...]:
    """PyTorch's generators, the CPU's and each GPU's."""
    states = [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [])]
    return tuple(state.numpy().tobytes() for state in states)


def versions() -> dict[str, str]:
    """Versions of the framework and of what computes for it."""
    return {"torch": torch.__version__}
