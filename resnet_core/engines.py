"""What several backends say to an engine that they share.

That is XLA, which JAX brings, for Flax and for Keras on JAX, and PyTorch, for itself and for Keras on it.
"""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import Any

from resnet_core.errors import InputError
from resnet_core.weights import TF32

#: Versions of jaxlib that know the option, from and below; XLA ends the process at one that it does not know.
KNOWN = ((0, 9), (0, 13))

#: XLA's CPU backend hands convolutions, products and sums to YNNPACK. Without it ResNet-50 computes 1.6 times as fast
#: and trains twice as fast (jaxlib 0.10.2), and sums are right, which YNNPACK's are not on some machines (jax#39103).
_NO_OFFLOAD = "--xla_cpu_experimental_ynn_fusion_type="

#: Versions of jaxlib whose XLA gives whole convolutions to oneDNN, from and below, and the options at which it does.
#: Predictions gain, and training loses (jaxlib 0.12.0.1, two cores of an AMD EPYC, ResNet-50, 16 images: 455 ms become
#: 360, ResNeXt-50's 629 become 420; but a step's 1.96 s become 2.9).
ONEDNN = ((0, 11), (0, 13))
_TO_ONEDNN = {"xla_cpu_use_onednn": True, "xla_cpu_experimental_onednn_custom_call": True}


def tell_xla() -> None:
    """Tell XLA in JAX what the installed jaxlib knows; before JAX has begun, or it has no effect."""
    if KNOWN[0] <= _jaxlib() < KNOWN[1]:
        _extend_flags(_NO_OFFLOAD)


def round_in_xla() -> None:
    """Tell XLA in TensorFlow to keep every rounding; before it has compiled anything.

    By itself it leaves out that of a convolution of bfloat16 whose result becomes float32 (a network of such is 1e-3
    from the reference then, and 1e-7 so).
    """
    _extend_flags("--xla_allow_excess_precision=", "false")


def _extend_flags(option: str, value: str = "") -> None:
    """Extend `XLA_FLAGS`. What the user has set comes behind, and so goes before."""
    given = os.environ.get("XLA_FLAGS", "")
    if option not in given:
        os.environ["XLA_FLAGS"] = f"{option}{value} {given}".strip()


def inference_options() -> dict[str, bool]:
    """The `compiler_options` of `jax.jit` for predictions on a CPU; empty where none is of use to this jaxlib."""
    known = ONEDNN[0] <= _jaxlib() < ONEDNN[1] and platform.machine() in {"x86_64", "AMD64"}
    return dict(_TO_ONEDNN) if known else {}


def on_device(device: str, dtype: str) -> str:
    """The device that a process computes on, unchanged. Raises InputError for "tf32" on a CPU, which has none."""
    if dtype == TF32 and device == "cpu":
        raise InputError(f"dtype: received {dtype!r}, which only a GPU has; choose float32, or the device gpu")
    return device


def xla_precision(dtype: str) -> str:
    """The value of `jax_default_matmul_precision`, which convolutions obey too: JAX' own would be TF32 on a GPU."""
    return "tensorfloat32" if dtype == TF32 else "highest"


def tell_torch(torch: Any, dtype: str) -> None:
    """Set PyTorch's switches of TF32, which is on for convolutions unless it is told. `torch` is the module.

    The older switches must agree: torch.export and torch.compile read them, and refuse where only the newer one is set.
    They also undo a precision that was set for convolutions alone, which the newer leaves as it is (pytorch#179445);
    export itself leaves one behind.
    """
    torch.backends.fp32_precision = "tf32" if dtype == TF32 else "ieee"
    torch.backends.cudnn.allow_tf32 = dtype == TF32
    torch.backends.cuda.matmul.allow_tf32 = dtype == TF32


def _jaxlib() -> tuple[int, ...]:
    return tuple(int(part) for part in metadata.version("jaxlib").split(".")[:2])
