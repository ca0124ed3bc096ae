"""The NumPy backend: the float64 reference with which every other backend is compared.

Particular to this package:
- it computes in float64, whatever dtype its weights are stored in;
- a model is a plain object with neutral arrays, in neutral layout; feature maps are (batch, height, width, channels);
- every layer is written out, forward and backward, in `lowering.py`: read it to learn backpropagation.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from resnet_core.backend import HOMES, lazy_exports

if TYPE_CHECKING:
    from resnet_numpy.differentiation import gradients, train_forward
    from resnet_numpy.inference import modes, predict
    from resnet_numpy.model import build, build_tree
    from resnet_numpy.parallel import ParallelTrainer
    from resnet_numpy.runtime import configure, exact_float64, peak_device_memory, random_state, versions
    from resnet_numpy.trainer import Trainer
    from resnet_numpy.weights import get_weights, native_tensors, set_weights

INTERFACE = 2
FRAMEWORK: Mapping[str, str] = {}  # NumPy comes with the core
ENVIRONMENT: Mapping[str, str] = {}

#: In which convolutions of a float32 network can compute.
CONVOLUTION_DTYPES = ("bfloat16",)

#: What else people call it.
KNOWN_AS = ("np",)

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
    "get_weights",
    "gradients",
    "modes",
    "native_tensors",
    "peak_device_memory",
    "predict",
    "random_state",
    "set_weights",
    "train_forward",
    "versions",
]

_HOMES = {verb: file for verb, file in HOMES.items() if verb not in ("fast", "resident")}
__getattr__ = lazy_exports(__name__, {**_HOMES, "ParallelTrainer": "parallel"})
