"""Global state of a JAX process: device, precision, versions."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import flax
import jax

from resnet_core.engines import on_device, tell_xla, xla_precision
from resnet_core.errors import InputError


def configure(device: str = "cpu", dtype: str = "float32") -> str:
    """Set up the process before the first model: `device` is "cpu", "gpu" or "auto". Returns "cpu" or "gpu".

    On a GPU, TF32 is off, so that float32 means float32; with the dtype "tf32" it is on. Raises InputError if no GPU is
    visible.
    """
    tell_xla()
    jax.config.update("jax_enable_x64", dtype == "float64")
    if device == "cpu":
        jax.config.update("jax_platforms", "cpu")
    gpu = jax.default_backend() == "gpu"
    if device == "gpu" and not gpu:
        raise InputError(f"no GPU is visible to JAX {jax.__version__}; choose the device cpu")
    jax.config.update("jax_default_matmul_precision", xla_precision(dtype))
    return on_device("gpu" if gpu else "cpu", dtype)


def exact_float64() -> bool:
    """Everything here computes in exact float64."""
    return True


def precision(dtype: str) -> AbstractContextManager[object]:
    """JAX's x64 mode for the calls inside, if the dtype needs it: without it, float64 silently becomes float32."""
    return jax.enable_x64(True) if dtype == "float64" else nullcontext()


def peak_device_memory() -> int:
    """Peak memory of arrays on the GPU in bytes; 0 on a CPU."""
    statistics = jax.devices()[0].memory_stats() if jax.default_backend() == "gpu" else None
    return int((statistics or {}).get("peak_bytes_in_use", 0))


def random_state() -> None:
    """JAX has no global random state."""


def versions() -> dict[str, str]:
    """Versions of the framework and of what computes for it."""
    return {"flax": flax.__version__, "jax": jax.__version__}
