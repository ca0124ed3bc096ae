"""Global state of a Keras process: device, precision, versions."""

from __future__ import annotations

import importlib.metadata

import keras

from resnet_core.engines import on_device, round_in_xla, tell_torch, tell_xla, xla_precision
from resnet_core.errors import InputError, require_choice
from resnet_core.weights import DTYPES, TF32, array_dtype, require_dtype
from resnet_keras import HALF_DTYPES

#: The global policies that are obeyed: neutral weights have no half precision.
POLICIES = (*DTYPES, "mixed_bfloat16", "mixed_float16")


def configure(device: str = "cpu", dtype: str = "float32") -> str:
    """Set up the process before the first model: `device` is "cpu", "gpu" or "auto". Returns "cpu" or "gpu".

    On a GPU, TF32 is off, so that float32 means float32 (with the dtype "tf32" it is on), and memory grows as needed.
    Raises InputError if no GPU is visible.
    """
    keras.config.set_floatx(floatx := array_dtype(dtype))
    if keras.config.dtype_policy().name in DTYPES:  # now asked for, it no longer follows floatx by itself
        keras.config.set_dtype_policy(floatx)
    return _CONFIGURE[keras.backend.backend()](device, dtype)


def exact_float64() -> bool:
    """Whether float64 models compute in float64 throughout.

    On JAX and PyTorch, Keras computes BatchNormalization and means of float64 in float32
    (BIT64_TO_BIT32_DTYPE in keras/src/backend/common/dtypes.py).
    """
    return keras.backend.backend() == "tensorflow"


def dtype_policy(dtype: str | None) -> keras.DTypePolicy:
    """The policy of a new model: Keras' global one, or that of an explicit dtype.

    Raises InputError for another dtype, for a global policy whose weights are not float32 or float64, and if this
    process would silently keep float64 as float32.
    """
    policy = keras.config.dtype_policy() if dtype is None else keras.DTypePolicy(require_dtype(dtype, HALF_DTYPES))
    require_choice("dtype policy", policy.name, POLICIES if dtype is None else (*POLICIES, *HALF_DTYPES))
    if policy.variable_dtype == "float64" and keras.backend.backend() == "jax":
        import jax

        if not jax.config.jax_enable_x64:
            raise InputError(
                "dtype: received 'float64' while JAX's 64-bit mode is off; "
                'call resnet_keras.configure(dtype="float64") before the first model'
            )
    return policy


def peak_device_memory() -> int:
    """Peak memory of tensors on the GPU in bytes; 0 on a CPU."""
    return _PEAK_MEMORY[keras.backend.backend()]()


def random_state() -> None:
    """Keras has no readable global random state: its layers have their own seeds, and none here is random."""


def versions() -> dict[str, str]:
    """Versions of the framework and of what computes for it."""
    engine = keras.backend.backend()
    module = __import__(engine)
    version = module.__version__ if hasattr(module, "__version__") else importlib.metadata.version(engine)
    return {"keras": keras.__version__, engine: version}


def _tensorflow(device: str, dtype: str) -> str:
    import tensorflow as tf

    round_in_xla()
    gpus = tf.config.list_physical_devices("GPU")
    device = _chosen(device, dtype, bool(gpus), f"TensorFlow {tf.__version__}")
    if device == "cpu":
        tf.config.set_visible_devices([], "GPU")
        return device
    tf.config.experimental.enable_tensor_float_32_execution(dtype == TF32)
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    return device


def _jax(device: str, dtype: str) -> str:
    import jax

    tell_xla()
    jax.config.update("jax_enable_x64", dtype == "float64")
    if device == "cpu":
        jax.config.update("jax_platforms", "cpu")
    device = _chosen(device, dtype, jax.default_backend() == "gpu", f"JAX {jax.__version__}")
    jax.config.update("jax_default_matmul_precision", xla_precision(dtype))
    return device


def _torch(device: str, dtype: str) -> str:
    import torch

    if device == "cpu":
        keras.device("cpu").__enter__()  # for the rest of the process
    device = _chosen(device, dtype, torch.cuda.is_available(), f"PyTorch {torch.__version__}")
    tell_torch(torch, dtype)
    return device


def _chosen(device: str, dtype: str, gpu: bool, engine: str) -> str:
    if device == "gpu" and not gpu:
        raise InputError(f"no GPU is visible to {engine}; choose the device cpu")
    return on_device("gpu" if gpu and device != "cpu" else "cpu", dtype)


def _tensorflow_memory() -> int:
    import tensorflow as tf

    gpus = tf.config.get_visible_devices("GPU")
    return int(tf.config.experimental.get_memory_info("GPU:0")["peak"]) if gpus else 0


def _jax_memory() -> int:
    import jax

    statistics = jax.devices()[0].memory_stats() if jax.default_backend() == "gpu" else None
    return int((statistics or {}).get("peak_bytes_in_use", 0))


def _torch_memory() -> int:
    import torch

    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0


_CONFIGURE = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
_PEAK_MEMORY = {"tensorflow": _tensorflow_memory, "jax": _jax_memory, "torch": _torch_memory}
