"""The Keras backend: a layer tree becomes nested functional `keras.Model`s of built-in layers only.

What is particular here:
- the model opens from its `.keras` file where this project is not installed;
- it runs on Keras' TensorFlow backend, or on its JAX and PyTorch backends when `KERAS_BACKEND` says so
  before Keras is imported;
- kernels are (height, width, in, out) and are transposed in `weights.py`;
- Keras pads by "valid" and "same" only, so that other padding is a layer of its own, `<name>_pad`;
- Keras updates the running variance with the biased batch variance; `differentiation.py` corrects it.
"""

from resnet_keras.differentiation import gradients, train_forward
from resnet_keras.model import build
from resnet_keras.predict import predict
from resnet_keras.runtime import configure, exact_float64, peak_device_memory, synchronize, versions
from resnet_keras.trainer import Trainer
from resnet_keras.weights import get_weights, set_weights

#: Variables that a process of it wants: several share a GPU, so that none takes all of its memory in advance.
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}

__all__ = [
    "Trainer",
    "build",
    "configure",
    "exact_float64",
    "get_weights",
    "gradients",
    "peak_device_memory",
    "predict",
    "set_weights",
    "synchronize",
    "train_forward",
    "versions",
]
