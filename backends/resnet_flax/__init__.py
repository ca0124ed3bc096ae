"""The Flax backend: a layer tree becomes an `nnx.Module` (NNX, not Linen).

What is particular here:
- feature maps are (batch, height, width, channels), kernels (height, width, in, out), transposed in `weights.py`;
- `nnx.BatchNorm` keeps float32 statistics whatever the model's dtype: setting weights gives them the model's;
- float64 needs JAX's x64 mode: this package enters it for its own calls; your own code must switch it on;
- Flax updates the running variance with the biased batch variance; `differentiation.py` corrects it.
"""

from resnet_flax.differentiation import gradients, train_forward
from resnet_flax.model import build
from resnet_flax.predict import predict
from resnet_flax.runtime import configure, exact_float64, peak_device_memory, synchronize, versions
from resnet_flax.trainer import Trainer
from resnet_flax.weights import get_weights, set_weights

#: Variables that a process of it wants: several share a GPU, so that none takes all of its memory in advance.
ENVIRONMENT = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}

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
