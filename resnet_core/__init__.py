"""A ResNet written once: a neutral spec, compiled into native models and proven equal in all of them.

>>> import resnet_core as rn
>>> spec = rn.spec("resnet50", classes=10)
>>> rn.parameters(spec)["stem.conv.weight"]
(64, 3, 7, 7)

Importing this package imports no framework.
"""

from resnet_core.analysis import layers, parameters, state, totals
from resnet_core.architecture import layer_tree, taps
from resnet_core.backend import backends, build, load_backend
from resnet_core.conversion.torchvision_names import from_torchvision
from resnet_core.errors import InputError, MissingBackendError, ResNetError, SpecError, WeightsError
from resnet_core.initialization import initialize, probe_weights
from resnet_core.spec_files import from_json, from_toml, names, save_spec, spec, to_json, to_toml
from resnet_core.specification import ResNetSpec
from resnet_core.weight_file import load_weights, save_weights
from resnet_core.weights import cast

__all__ = [
    "InputError",
    "MissingBackendError",
    "ResNetError",
    "ResNetSpec",
    "SpecError",
    "WeightsError",
    "backends",
    "build",
    "cast",
    "from_json",
    "from_toml",
    "from_torchvision",
    "initialize",
    "layer_tree",
    "layers",
    "load_backend",
    "load_weights",
    "names",
    "parameters",
    "probe_weights",
    "save_spec",
    "save_weights",
    "spec",
    "state",
    "taps",
    "to_json",
    "to_toml",
    "totals",
]
