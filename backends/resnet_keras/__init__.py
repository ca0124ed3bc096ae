"""The Keras backend: a layer tree becomes one flat functional `keras.Model` of built-in layers only.

Particular to this package:
- layers are named after their paths, `stage1_block1_conv1`; each part of the network ends in an activation of its
  name, `stage1`, that changes nothing; the parts of a tree too deep for one graph (`depth.py`) are models of their own;
- the global dtype policy is obeyed where no dtype is given; the network's output is float32 in mixed precision;
- the model can be loaded from its `.keras` file without this project installed;
- it runs on Keras' TensorFlow backend, or on its JAX or PyTorch backend if `KERAS_BACKEND` is set before Keras is
  imported;
- kernels are (height, width, in, out) and are transposed in `weights.py`;
- Keras pads only by "valid" and "same", so any other padding is a separate layer, `<name>_pad`;
- Keras updates the running variance with the biased batch variance; `differentiation.py` corrects it.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_core.backend import HOMES, PARALLEL_HOMES, lazy_exports

if TYPE_CHECKING:
    from resnet_keras.differentiation import gradients, train_forward
    from resnet_keras.inference import modes, predict
    from resnet_keras.model import build, build_tree, default_dtype
    from resnet_keras.own_programs import run_program
    from resnet_keras.parallel import ParallelTrainer, join
    from resnet_keras.runtime import configure, exact_float64, peak_device_memory, random_state, versions
    from resnet_keras.speed import fast, resident
    from resnet_keras.state_dict import read_state_dict, write_state_dict
    from resnet_keras.trainer import Trainer
    from resnet_keras.weights import get_weights, native_tensors, set_weights


def _engine() -> str:
    """The framework that Keras will compute with, determined as in keras/src/backend/config.py."""
    if engine := os.environ.get("KERAS_BACKEND"):
        return engine
    try:
        folder = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
        return str(json.loads((folder / "keras.json").read_text())["backend"])
    except (OSError, ValueError, LookupError, TypeError):
        return "tensorflow"


INTERFACE = 2
FRAMEWORK: Mapping[str, str] = {"keras": "keras", _engine(): _engine()}
ENVIRONMENT: Mapping[str, str] = {
    "TF_CPP_MIN_LOG_LEVEL": "3",  # hides TensorFlow's messages about its build
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",  # processes share a GPU, so none may reserve all of its memory
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}

#: For small programs, which XLA optimizes for longer than they run; `resnet conformance` is three times as fast.
QUICK_ENVIRONMENT: Mapping[str, str] = {
    "XLA_FLAGS": "--xla_backend_optimization_level=0",
    **dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1"),
}

#: Half precision, for inference.
HALF_DTYPES = ("bfloat16", "float16")

#: In which convolutions of a float32 network can compute.
CONVOLUTION_DTYPES = ("bfloat16",)

#: Endings of the files that `read_state_dict` reads.
READS = (".h5", ".keras", ".index")

#: Whose own programs `run_program` runs, {format of weights: the module that has them}.
PROGRAMS: Mapping[str, str] = {"keras": "keras"}

#: Why several processes cannot train a network here.
_ALONE = "Keras on {} trains in one process; set KERAS_BACKEND=jax, with which runs and weights are the same"
ONE_PROCESS = "" if _engine() == "jax" else _ALONE.format(_engine())

#: What else people call it.
KNOWN_AS = ("tf", "tensorflow")

__all__ = [
    "ENVIRONMENT",
    "FRAMEWORK",
    "INTERFACE",
    "ParallelTrainer",
    "Trainer",
    "build",
    "build_tree",
    "configure",
    "default_dtype",
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
    "run_program",
    "set_weights",
    "train_forward",
    "versions",
    "write_state_dict",
]

_FILES = dict.fromkeys(("read_state_dict", "write_state_dict"), "state_dict") | {"run_program": "own_programs"}
__getattr__ = lazy_exports(__name__, {**HOMES, **PARALLEL_HOMES, "default_dtype": "model", **_FILES})
