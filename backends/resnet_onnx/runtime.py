"""Global state of an onnxruntime process: where it computes, and versions."""

from __future__ import annotations

import onnx
import onnxruntime

from resnet_core.errors import InputError

#: What `configure` chose; sessions are made for it.
providers = ["CPUExecutionProvider"]

_GPU = ("CUDAExecutionProvider", "ROCMExecutionProvider")


def configure(device: str = "cpu", dtype: str = "float32") -> str:
    """Set up the process before the first model: `device` is "cpu", "gpu" or "auto". Returns "cpu" or "gpu".

    Raises InputError if this build of onnxruntime has no GPU.
    """
    found = [name for name in onnxruntime.get_available_providers() if name in _GPU]
    if device == "gpu" and not found:
        raise InputError(
            f"no GPU is visible to onnxruntime {onnxruntime.__version__}; choose the device cpu, or install "
            "onnxruntime-gpu in its place"
        )
    used = found[:1] if device != "cpu" else []
    providers[:] = [*used, "CPUExecutionProvider"]
    return "gpu" if used else "cpu"


def exact_float64() -> bool:
    """onnxruntime has no float64 convolution on a CPU."""
    return False


def peak_device_memory() -> int:
    """onnxruntime does not tell."""
    return 0


def random_state() -> None:
    """Inference draws nothing."""
    return


def versions() -> dict[str, str]:
    """Versions of the format's package and of what computes."""
    return {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}
