"""The NumPy backend: the float64 truth that every other backend is held against.

What is particular here:
- it computes in float64 whatever dtype its weights are kept in;
- a model is a plain object with neutral arrays, in neutral layout; feature maps are (batch, height, width, channels);
- every layer is written out, forward and backward, in `lowering.py`: read it to learn backpropagation.
"""

from resnet_numpy.differentiation import gradients, train_forward
from resnet_numpy.model import build
from resnet_numpy.predict import predict
from resnet_numpy.runtime import configure, exact_float64, peak_device_memory, synchronize, versions
from resnet_numpy.trainer import Trainer
from resnet_numpy.weights import get_weights, set_weights

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
