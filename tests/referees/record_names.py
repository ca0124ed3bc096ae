"""Record what the tensors of other programs are called, and their shapes and dtypes, as lists for the tests.

Run in an environment with torch, torchvision, timm and transformers, and once more in one with Keras (README.md names
the versions), and with `RESNET_REFEREES_FLAX` in one with Flax; each run replaces its own part of names.json:

    python tests/referees/record_names.py
"""

import json
import os
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("names.json")


def listed(state: dict[str, Any]) -> dict[str, list[Any]]:
    return {name: [list(tensor.shape), str(tensor.dtype).replace("torch.", "")] for name, tensor in state.items()}


def of_pytorch() -> dict[str, Any]:
    import timm
    import torchvision
    from transformers import ResNetConfig, ResNetForImageClassification

    found: dict[str, Any] = {"torchvision": {}, "timm": {}, "hf": {}}
    for name in ("resnet18", "resnet50", "wide_resnet50_2"):
        found["torchvision"][name] = listed(getattr(torchvision.models, name)(num_classes=10).state_dict())
    for name in (
        "resnet18d",
        "seresnet50",
        "ecaresnet26t",
        "resnetv2_50d",
        "resnext26ts",
        "seresnet33ts",
        "resnetrs50",
    ):
        found["timm"][name] = listed(timm.create_model(name, num_classes=10).state_dict())
    for name, arguments in {
        "resnet26": {"depths": [2, 2, 2, 2]},
        "resnet18": {"depths": [2, 2, 2, 2], "hidden_sizes": [64, 128, 256, 512], "layer_type": "basic"},
    }.items():
        model = ResNetForImageClassification(ResNetConfig(num_labels=10, **arguments))
        found["hf"][name] = listed(model.state_dict())
    return found


def of_keras() -> dict[str, Any]:
    import keras

    found = {}
    for name, model in (("keras_resnet50", "ResNet50"), ("keras_resnet50_v2", "ResNet50V2")):
        layers = getattr(keras.applications, model)(weights=None, classes=10, input_shape=(64, 64, 3)).layers
        found[name] = {
            f"{layer.name}/{variable.name}": [list(variable.shape), variable.dtype]
            for layer in layers
            for variable in layer.weights
        }
    return {"keras": found}


def of_flax() -> dict[str, Any]:
    from check_flax import tensors
    from flax_example import program

    with tempfile.TemporaryDirectory() as folder:
        return {"flax": {"flax_resnet50": tensors(program("models", Path(folder)).ResNet50, 10)}}


def main() -> None:
    known = json.loads(FILE.read_text()) if FILE.exists() else {"versions": {}}
    found, packages = _found()
    versions = {**known["versions"], **{package: version(package) for package in packages}}
    FILE.write_text(json.dumps({**known, **found, "versions": versions}, separators=(",", ":")) + "\n")


def _found() -> tuple[dict[str, Any], tuple[str, ...]]:
    """(what is here, the packages that it is of)."""
    if "RESNET_REFEREES_FLAX" in os.environ:
        return of_flax(), ("flax",)
    try:
        version("timm")
    except PackageNotFoundError:
        return of_keras(), ("keras",)
    return of_pytorch(), ("torch", "torchvision", "timm", "transformers")


if __name__ == "__main__":
    main()
