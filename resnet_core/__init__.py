"""Write a ResNet once, as a neutral spec; it is compiled into native models that are proven equal.

>>> import resnet_core as rn
>>> spec = rn.spec("resnet50", classes=10)
>>> rn.parameters(spec)["stem.conv.weight"]
(64, 3, 7, 7)

Importing this package imports no framework.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resnet_core.analysis import TapInfo, layers, parameters, state, tap_info, totals
    from resnet_core.architecture import layer_tree, taps
    from resnet_core.backend import backends, load_backend
    from resnet_core.benchmark.bench import bench
    from resnet_core.benchmark.result import Benchmark, BenchmarkRow
    from resnet_core.comparison.compare import compare
    from resnet_core.comparison.result import BackendResult, Comparison
    from resnet_core.conversion.certificate import Certificate, certify
    from resnet_core.conversion.convert import Conversion, convert
    from resnet_core.conversion.read import Imported, import_weights, load_weights, read_weights
    from resnet_core.conversion.torchvision_names import from_torchvision
    from resnet_core.data.named import dataset
    from resnet_core.data.prepare import load_images
    from resnet_core.deployment import deploy
    from resnet_core.difference.difference import Difference, diff
    from resnet_core.errors import InputError, MissingBackendError, ResNetError, SpecError, WeightsError
    from resnet_core.initialization import initialize, probe_weights
    from resnet_core.lessons.lesson import lesson
    from resnet_core.prediction.models import build, features
    from resnet_core.prediction.network import TrainedNetwork, trained_network
    from resnet_core.prediction.predict import Prediction, predict
    from resnet_core.preparation import Preparation
    from resnet_core.programs.source import source
    from resnet_core.spec_files import names, save_spec, spec
    from resnet_core.specification import ResNetSpec
    from resnet_core.training.evaluation import Evaluation, evaluate
    from resnet_core.training.recipe_files import recipe
    from resnet_core.training.running_variance import unbiased_variances
    from resnet_core.training.start import TrainingResult, train
    from resnet_core.version import __version__
    from resnet_core.weight_file import WeightFile, read_weight_file, save_weights
    from resnet_core.weights import cast

__all__ = [
    "BackendResult",
    "Benchmark",
    "BenchmarkRow",
    "Certificate",
    "Comparison",
    "Conversion",
    "Difference",
    "Evaluation",
    "Imported",
    "InputError",
    "MissingBackendError",
    "Prediction",
    "Preparation",
    "ResNetError",
    "ResNetSpec",
    "SpecError",
    "TapInfo",
    "TrainedNetwork",
    "TrainingResult",
    "WeightFile",
    "WeightsError",
    "__version__",
    "backends",
    "bench",
    "build",
    "cast",
    "certify",
    "compare",
    "convert",
    "dataset",
    "deploy",
    "diff",
    "evaluate",
    "features",
    "from_torchvision",
    "import_weights",
    "initialize",
    "layer_tree",
    "layers",
    "lesson",
    "load_backend",
    "load_images",
    "load_weights",
    "names",
    "parameters",
    "predict",
    "probe_weights",
    "read_weight_file",
    "read_weights",
    "recipe",
    "save_spec",
    "save_weights",
    "source",
    "spec",
    "state",
    "tap_info",
    "taps",
    "totals",
    "train",
    "trained_network",
    "unbiased_variances",
]

#: Imported on first use: importing the package alone takes no time, so that a command can be stopped from its start.
_LAZY = {
    "__version__": "version",
    "BackendResult": "comparison.result",
    "Benchmark": "benchmark.result",
    "BenchmarkRow": "benchmark.result",
    "Certificate": "conversion.certificate",
    "Comparison": "comparison.result",
    "Conversion": "conversion.convert",
    "Difference": "difference.difference",
    "Evaluation": "training.evaluation",
    "Imported": "conversion.read",
    "InputError": "errors",
    "MissingBackendError": "errors",
    "Prediction": "prediction.predict",
    "Preparation": "preparation",
    "ResNetError": "errors",
    "ResNetSpec": "specification",
    "SpecError": "errors",
    "TapInfo": "analysis",
    "TrainedNetwork": "prediction.network",
    "TrainingResult": "training.start",
    "WeightFile": "weight_file",
    "WeightsError": "errors",
    "backends": "backend",
    "bench": "benchmark.bench",
    "build": "prediction.models",
    "cast": "weights",
    "certify": "conversion.certificate",
    "compare": "comparison.compare",
    "convert": "conversion.convert",
    "dataset": "data.named",
    "deploy": "deployment",
    "diff": "difference.difference",
    "evaluate": "training.evaluation",
    "features": "prediction.models",
    "from_torchvision": "conversion.torchvision_names",
    "import_weights": "conversion.read",
    "initialize": "initialization",
    "layer_tree": "architecture",
    "layers": "analysis",
    "load_backend": "backend",
    "lesson": "lessons.lesson",
    "load_images": "data.prepare",
    "load_weights": "conversion.read",
    "names": "spec_files",
    "parameters": "analysis",
    "predict": "prediction.predict",
    "probe_weights": "initialization",
    "read_weight_file": "weight_file",
    "read_weights": "conversion.read",
    "recipe": "training.recipe_files",
    "save_spec": "spec_files",
    "save_weights": "weight_file",
    "source": "programs.source",
    "spec": "spec_files",
    "state": "analysis",
    "tap_info": "analysis",
    "taps": "architecture",
    "totals": "analysis",
    "train": "training.start",
    "trained_network": "prediction.network",
    "unbiased_variances": "training.running_variance",
}


def __getattr__(name: str) -> object:
    """PEP 562; a module must not have the name of what it exports: once imported, it would shadow it."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
