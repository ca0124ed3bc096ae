"""Global state of an onnxruntime process: where it computes, and versions."""

from __future__ import annotations

import onnx
import onnx.parser
import onnxruntime

from resnet_core.engines import on_device
from resnet_core.errors import InputError
from resnet_core.weights import TF32

#: What `configure` chose, with options; sessions are made for it.
providers: list[tuple[str, dict[str, str]]] = [("CPUExecutionProvider", {})]

_GPU = ("CUDAExecutionProvider", "ROCMExecutionProvider")

#: The least that a session can be made of.
_PROBE = '<ir_version: 10, opset_import: ["": 21]> probe (float[1] x) => (float[1] y) { y = Identity(x) }'


def configure(device: str = "cpu", dtype: str = "float32") -> str:
    """Set up the process before the first model: `device` is "cpu", "gpu" or "auto". Returns "cpu" or "gpu".

    CUDA's TF32, which onnxruntime would use, is on with the dtype "tf32" alone. Raises InputError if this build of
    onnxruntime has no GPU, or what it needs for one is not there.
    """
    built = [name for name in onnxruntime.get_available_providers() if name in _GPU] if device != "cpu" else []
    used = [name for name in built if _starts(name)][:1]
    if device == "gpu" and not used:
        which = f"onnxruntime {onnxruntime.__version__}"
        lacking = "install onnxruntime-gpu in its place" if not built else f"see why {built[0]} does not start"
        raise InputError(f"no GPU is visible to {which}; choose the device cpu, or {lacking}")
    options = {"CUDAExecutionProvider": {"use_tf32": "1" if dtype == TF32 else "0"}}
    providers[:] = [(name, options.get(name, {})) for name in (*used, "CPUExecutionProvider")]
    return on_device("gpu" if used else "cpu", dtype)


def _starts(name: str) -> bool:
    """Whether a session gets this provider: without its libraries or its card, onnxruntime takes the CPU instead."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # the answer says enough
    probe = onnx.parser.parse_model(_PROBE).SerializeToString()
    session = onnxruntime.InferenceSession(probe, options, providers=[name, "CPUExecutionProvider"])
    return name in session.get_providers()


def memory() -> str:
    """The device on which tensors of a session lie, in onnxruntime's word."""
    return "cuda" if providers[0][0] in _GPU else "cpu"


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
