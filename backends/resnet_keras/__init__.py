"""The Keras backend: a layer tree becomes nested functional `keras.Model`s of built-in layers only.

What is particular here:
- the model opens from its `.keras` file where this project is not installed;
- it runs on Keras' TensorFlow backend, or on its JAX and PyTorch backends when `KERAS_BACKEND` says so
  before Keras is imported;
- kernels are (height, width, in, out) and are transposed in `weights.py`;
- Keras pads by "valid" and "same" only, so that other padding is a layer of its own, `<name>_pad`;
- Keras updates the running variance with the biased batch variance; `differentiation.py` corrects it.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_core.backend import lazy_exports

if TYPE_CHECKING:
    from resnet_keras.differentiation import gradients, train_forward
    from resnet_keras.inference import modes, predict
    from resnet_keras.model import build, build_tree
    from resnet_keras.runtime import configure, exact_float64, peak_device_memory, random_state, versions
    from resnet_keras.trainer import Trainer
    from resnet_keras.weights import get_weights, set_weights


def _engine() -> str:
    """The framework that Keras will compute with, found as Keras finds it (keras/src/backend/config.py)."""
    if engine := os.environ.get("KERAS_BACKEND"):
        return engine
    try:
        folder = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
        return str(json.loads((folder / "keras.json").read_text())["backend"])
    except (OSError, ValueError, LookupError, TypeError):
        return "tensorflow"


INTERFACE = 1
FRAMEWORK: Mapping[str, str] = {"keras": "keras", _engine(): _engine()}
ENVIRONMENT: Mapping[str, str] = {
    "TF_CPP_MIN_LOG_LEVEL": "3",  # what TensorFlow says about its build is no result
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",  # processes share a GPU: none takes all of its memory in advance
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}

#: Variables that a process of it wants: several share a GPU, so that none takes all of its memory in advance.
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}

__all__ = [
    "ENVIRONMENT",
    "FRAMEWORK",
    "INTERFACE",
    "Trainer",
    "build",
    "build_tree",
    "configure",
    "exact_float64",
    "get_weights",
    "gradients",
    "modes",
    "peak_device_memory",
    "predict",
    "random_state",
    "set_weights",
    "train_forward",
    "versions",
]

__getattr__ = lazy_exports(__name__)
