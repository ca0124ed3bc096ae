"""The PyTorch backend: a layer tree becomes an `nn.Module` whose state_dict has the neutral names.

Particular to this package:
- images and feature maps of the native model are (batch, channels, height, width);
- `nn.BatchNorm2d` counts its batches, so the state_dict has `num_batches_tracked` besides the neutral names;
- asymmetric padding is handled by two small subclasses in `layers.py`.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from resnet_core.backend import HOMES, PARALLEL_HOMES, lazy_exports

if TYPE_CHECKING:
    from resnet_torch.differentiation import gradients, train_forward
    from resnet_torch.inference import modes, predict
    from resnet_torch.model import build, build_tree
    from resnet_torch.own_programs import run_program
    from resnet_torch.parallel import ParallelTrainer, join
    from resnet_torch.runtime import configure, exact_float64, peak_device_memory, random_state, versions
    from resnet_torch.speed import fast, resident
    from resnet_torch.state_dict import read_state_dict, write_state_dict
    from resnet_torch.trainer import Trainer
    from resnet_torch.weights import get_weights, native_tensors, set_weights

INTERFACE = 2
FRAMEWORK: Mapping[str, str] = {"torch": "torch"}
ENVIRONMENT: Mapping[str, str] = {}

#: Endings of the files that `read_state_dict` reads.
READS = (".pth", ".pt", ".bin", ".ckpt", ".tar")

#: Whose own programs `run_program` runs, {format of weights: the module that has them}.
PROGRAMS: Mapping[str, str] = {"torchvision": "torchvision", "timm": "timm", "hf": "transformers"}

#: Half precision, for inference.
HALF_DTYPES = ("bfloat16", "float16")

#: In which convolutions of a float32 network can compute.
CONVOLUTION_DTYPES = ("bfloat16",)

#: What else people call it.
KNOWN_AS = ("pytorch",)

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
    "run_program",
    "set_weights",
    "train_forward",
    "versions",
    "write_state_dict",
]

_FILES = dict.fromkeys(("read_state_dict", "write_state_dict"), "state_dict") | {"run_program": "own_programs"}
__getattr__ = lazy_exports(__name__, {**HOMES, **PARALLEL_HOMES, **_FILES})
