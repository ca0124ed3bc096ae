"""What the tests run: every backend, Keras on each of the engines that it computes with."""

from __future__ import annotations

import os
from pathlib import Path

import resnet_flax

TESTS = Path(__file__).parent

#: Engine to (backend, environment). Keras comes on three.
ENGINES: dict[str, tuple[str, dict[str, str]]] = {
    "torch": ("torch", {}),
    "keras": ("keras", {"KERAS_BACKEND": "tensorflow"}),
    "flax": ("flax", {}),
    "keras_jax": ("keras", {"KERAS_BACKEND": "jax"}),
    "keras_torch": ("keras", {"KERAS_BACKEND": "torch"}),
    "numpy": ("numpy", {}),
    "onnx": ("onnx", {}),
}
#: For what does not depend on the device.
CPU = {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}

#: XLA's last optimization pass and its newer code generator for fusions take three quarters of the compile time
#: and change no operation, but how its sums are rounded; one module of code is made faster than many in parallel;
#: compiled programs are kept between runs; the engines work at the same time, so that more threads in each would only
#: wait for one another. `resnet compare` runs with none of this.
QUICK = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"), "1"),
    "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {resnet_flax.QUICK_ENVIRONMENT['XLA_FLAGS']} "
    "--xla_cpu_parallel_codegen_split_count=1".strip(),
    "JAX_COMPILATION_CACHE_DIR": str(TESTS.parent / ".cache" / "jax"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5",
}
