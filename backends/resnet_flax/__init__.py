"""The Flax backend: a layer tree becomes an `nnx.Module` (NNX, not Linen).

Particular to this package:
- feature maps are (batch, height, width, channels), kernels (height, width, in, out), transposed in `weights.py`;
- `nnx.BatchNorm` keeps float32 statistics whatever the model's dtype; setting the weights gives them the model's;
- float64 needs JAX's x64 mode: this package enters it for its own calls; your own code must enable it;
- Flax updates the running variance with the biased batch variance; `differentiation.py` corrects it.
"""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from resnet_core.backend import HOMES, PARALLEL_HOMES, lazy_exports

if TYPE_CHECKING:
    from resnet_flax.differentiation import gradients, train_forward
    from resnet_flax.inference import modes, predict
    from resnet_flax.model import build, build_tree
    from resnet_flax.parallel import ParallelTrainer, join
    from resnet_flax.runtime import configure, exact_float64, peak_device_memory, random_state, versions
    from resnet_flax.speed import fast, resident
    from resnet_flax.state_dict import read_state_dict, write_state_dict
    from resnet_flax.trainer import Trainer
    from resnet_flax.weights import get_weights, native_tensors, set_weights

INTERFACE = 2
FRAMEWORK: Mapping[str, str] = {"flax": "flax", "jax": "jax", "optax": "optax"}
ENVIRONMENT: Mapping[str, str] = {
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # processes share a GPU, so none may reserve all of its memory
}


def _quick_flags() -> str:
    """XLA ends at a flag that it does not know: the second is given where it was tried."""
    try:
        tried = version("jaxlib").startswith("0.10.")
    except PackageNotFoundError:
        tried = False
    return "--xla_backend_optimization_level=0" + (" --xla_cpu_use_fusion_emitters=false" if tried else "")


#: For small programs, which XLA optimizes for longer than they run; `resnet conformance` is four times as fast.
QUICK_ENVIRONMENT: Mapping[str, str] = {"XLA_FLAGS": _quick_flags()}

#: Endings of the files that `read_state_dict` reads, and what it finds in a folder that it reads.
READS = (".msgpack",)
READS_FOLDERS = ("_METADATA", "default/_METADATA")

#: Half precision, for inference.
HALF_DTYPES = ("bfloat16", "float16")

#: In which convolutions of a float32 network can compute.
CONVOLUTION_DTYPES = ("bfloat16",)

#: What else people call it.
KNOWN_AS = ("jax", "nnx")

__all__ = [
    "ENVIRONMENT",
    "FRAMEWORK",
    "INTERFACE",
    "ParallelTrainer",
    "Trainer",
    "build",
    "build_tree",
    "configure",
    "exact_float64",
    "fast",
    "get_weights",
    "gradients",
    "join",
    "modes",
    "native_tensors",
    "peak_device_memory",
    "predict",
    "random_state",
    "read_state_dict",
    "resident",
    "set_weights",
    "train_forward",
    "versions",
    "write_state_dict",
]

_FILES = dict.fromkeys(("read_state_dict", "write_state_dict"), "state_dict")
__getattr__ = lazy_exports(__name__, {**HOMES, **PARALLEL_HOMES, **_FILES})
