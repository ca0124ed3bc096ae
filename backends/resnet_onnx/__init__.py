"""The ONNX backend: a layer tree becomes an ONNX graph, which onnxruntime runs.

Particular to this package:
- it is for inference: there is no Trainer, no `train_forward` and no `gradients`, and nothing is printed as a program;
- the graph's initializers have the neutral names and layouts, its nodes the names of the tree; feature maps are (batch,
  channels, height, width), and the batch and the image's size are left open;
- onnxruntime convolves in float32 only; a float64 model is run by ONNX's own reference implementation, which is slow.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from resnet_core.backend import HOMES, lazy_exports

if TYPE_CHECKING:
    from resnet_onnx.inference import modes, predict
    from resnet_onnx.model import build, build_tree
    from resnet_onnx.runtime import configure, exact_float64, peak_device_memory, random_state, versions
    from resnet_onnx.speed import fast, resident
    from resnet_onnx.state_dict import is_network_of, network_files, read_network, run_network, write_network
    from resnet_onnx.weights import get_weights, native_tensors, set_weights

INTERFACE = 2
FRAMEWORK: Mapping[str, str] = {"onnx": "onnx", "onnxruntime": "onnxruntime"}
ENVIRONMENT: Mapping[str, str] = {}

#: What else people call it.
KNOWN_AS = ("onnxruntime", "ort")

#: Endings of the files that hold a network with its weights, which `read_network` and `write_network` know.
NETWORKS = (".onnx",)

#: Compared and chosen only where it is named.
ON_REQUEST = True

__all__ = [
    "ENVIRONMENT",
    "FRAMEWORK",
    "INTERFACE",
    "build",
    "build_tree",
    "configure",
    "exact_float64",
    "fast",
    "get_weights",
    "is_network_of",
    "modes",
    "native_tensors",
    "network_files",
    "peak_device_memory",
    "predict",
    "random_state",
    "read_network",
    "resident",
    "run_network",
    "set_weights",
    "versions",
    "write_network",
]

_TRAINING = ("Trainer", "gradients", "train_forward")
_FILES = dict.fromkeys(("is_network_of", "network_files", "read_network", "run_network", "write_network"), "state_dict")
__getattr__ = lazy_exports(__name__, {verb: file for verb, file in HOMES.items() if verb not in _TRAINING} | _FILES)
