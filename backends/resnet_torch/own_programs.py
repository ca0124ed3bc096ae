"""Other people's programs in PyTorch, run on their own weights: the referees of conversions."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from resnet_core.errors import WeightsError


def run_program(
    format: str,
    path: Path,
    spec: Mapping[str, Any],
    told: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    images: np.ndarray,
) -> tuple[str, np.ndarray] | None:
    """(what ran, logits) of a library's own network of this spec with its own weights, computed in float64.

    `told` are more arguments of the library's function, `arrays` the tensors of the file at `path` under the names
    there. None where the library has no network of this name. Raises WeightsError if it does not take exactly these
    weights.
    """
    model = {"torchvision": _torchvision, "timm": _timm, "hf": _transformers}[format](path, spec, told)
    if model is None:
        return None
    if format != "hf":
        _load(model, arrays)
    model = model.eval().double()
    with torch.inference_mode():
        output = model(torch.from_numpy(images).double().permute(0, 3, 1, 2))
    library = "transformers" if format == "hf" else format
    return f"{library} {version(library)} in float64", getattr(output, "logits", output).numpy()


def _torchvision(path: Path, spec: Mapping[str, Any], told: Mapping[str, Any]) -> nn.Module | None:
    if spec["in_channels"] != 3:
        return None
    from torchvision.models import resnet

    block = resnet.BasicBlock if spec["block"] == "basic" else resnet.Bottleneck
    given = {"num_classes": spec["classes"], "groups": spec["groups"], "width_per_group": spec["width_per_group"]}
    model: nn.Module = resnet.ResNet(block, spec["depths"], **given, **told)
    return model


def _timm(path: Path, spec: Mapping[str, Any], told: Mapping[str, Any]) -> nn.Module | None:
    import timm

    if not timm.is_model(spec["name"]):
        return None
    given = {"num_classes": spec["classes"], "in_chans": spec["in_channels"]}
    model: nn.Module = timm.create_model(spec["name"], pretrained=False, **given, **told)
    return model


def _transformers(path: Path, spec: Mapping[str, Any], told: Mapping[str, Any]) -> nn.Module | None:
    from transformers import AutoModelForImageClassification

    folder = path if path.is_dir() else path.parent
    model, told = AutoModelForImageClassification.from_pretrained(str(folder), output_loading_info=True)
    if wrong := [key for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") for key in told[kind]]:
        raise WeightsError(f"{path}: transformers does not take these weights as they are: {wrong[0]}")
    network: nn.Module = model
    return network


def _load(model: nn.Module, arrays: Mapping[str, np.ndarray]) -> None:
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    try:
        missing, unknown = model.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise WeightsError(f"its own program does not take these weights: {str(error).splitlines()[-1]}") from error
    if wrong := [name for name in missing if not name.endswith("num_batches_tracked")] + unknown:
        raise WeightsError(f"its own program does not take these weights: {wrong[0]}")
