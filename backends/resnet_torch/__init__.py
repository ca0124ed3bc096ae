"""The PyTorch backend: a layer tree becomes an `nn.Module` whose state_dict has the neutral names.

What is particular here:
- images and feature maps of the native model are (batch, channels, height, width);
- `nn.BatchNorm2d` counts its batches, so the state_dict has `num_batches_tracked` besides the neutral names;
- padding that is not symmetric is done by two small subclasses, in `lowering.py`.
"""

from resnet_torch.differentiation import gradients, train_forward
from resnet_torch.model import build
from resnet_torch.predict import predict
from resnet_torch.runtime import configure, exact_float64, peak_device_memory, synchronize, versions
from resnet_torch.state_dict import read_state_dict
from resnet_torch.trainer import Trainer
from resnet_torch.weights import get_weights, set_weights

#: Endings of the files that `read_state_dict` reads.
READS = (".pth", ".pt", ".bin", ".ckpt", ".tar")

__all__ = [
    "Trainer",
    "build",
    "configure",
    "exact_float64",
    "get_weights",
    "gradients",
    "peak_device_memory",
    "predict",
    "read_state_dict",
    "set_weights",
    "synchronize",
    "train_forward",
    "versions",
]
