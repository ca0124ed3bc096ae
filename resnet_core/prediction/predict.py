"""From pictures to their most likely classes, in any backend."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from resnet_core.analysis import state
from resnet_core.backend import DEVICES
from resnet_core.conversion.read import read_weights
from resnet_core.data.images import load_image
from resnet_core.errors import InputError, require_choice
from resnet_core.files import read_bytes
from resnet_core.numerics import log_softmax
from resnet_core.spec_files import spec as read_spec
from resnet_core.specification import ResNetSpec
from resnet_core.weights import check_weights
from resnet_core.workers.backend_process import BackendProcess


@dataclass(frozen=True)
class ClassScore:
    """One class of a prediction: its number from 0, its name if there is one, and its probability."""

    index: int
    label: str | None
    probability: float

    def to_json(self) -> dict[str, Any]:
        """{"class", "label", "probability"}."""
        return {"class": self.index, "label": self.label, "probability": self.probability}


@dataclass(frozen=True)
class Prediction:
    """The most likely classes of a picture, the most likely first; `image` is its path as given."""

    image: str
    top: tuple[ClassScore, ...]

    def to_json(self) -> dict[str, Any]:
        """{"image", "top": [{"class", "label", "probability"}, …]}."""
        return {"image": self.image, "top": [score.to_json() for score in self.top]}


def predict(
    spec: str | Path | ResNetSpec,
    pictures: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    weights: str | Path | Mapping[str, np.ndarray],
    backend: str,
    top: int = 5,
    labels: str | Path | Sequence[str] | None = None,
    device: str = "auto",
) -> list[Prediction]:
    """The `top` most likely classes of each picture, computed in a separate process.

    - `spec`: a name, a .toml or .json file, or a ResNetSpec.
    - `pictures`: files; they are prepared as in torchvision, at the spec's input size (`load_image`).
    - `weights`: {neutral name: array}, a neutral file, or torchvision's state_dict as .safetensors or .pth.
    - `labels`: the names of the classes, or a file with one name per line.

    If probabilities are equal, the smaller class number comes first. Raises InputError, one line, for anything that
    cannot be read or does not fit, WorkerError if the backend's process fails.
    """
    network = read_spec(spec)
    require_choice("device", device, DEVICES)
    if network.classes is None or not network.global_pool:
        raise InputError("predict: the spec has no classifier; expected classes and global_pool = true")
    if top < 1:
        raise InputError(f"top: received {top}; expected an integer from 1")
    names = _labels(labels, network.classes)
    files = [pictures] if isinstance(pictures, str | os.PathLike) else pictures
    if isinstance(weights, Mapping):
        arrays = check_weights(weights, state(network))
    else:
        arrays = read_weights(Path(weights), network)
    images = [load_image(file, network.input_size, network.in_channels) for file in files]
    dtype = next(iter(arrays.values())).dtype.name
    with BackendProcess(backend, device=device, dtype=dtype) as process:
        process.open()
        process.build(network, arrays)
        # One image at a time, so that memory does not grow with their number.
        logits = [process.predict(image[None])["output"][0] for image in images]
    return [
        Prediction(os.fspath(file), _top(row, min(top, network.classes), names))
        for file, row in zip(files, logits, strict=True)
    ]


def _top(logits: np.ndarray, count: int, names: Sequence[str] | None) -> tuple[ClassScore, ...]:
    probabilities = np.exp(log_softmax(logits))
    order = np.argsort(-probabilities, kind="stable")[:count]
    return tuple(ClassScore(int(k), names[k] if names else None, float(probabilities[k])) for k in order)


def _labels(labels: str | Path | Sequence[str] | None, classes: int) -> Sequence[str] | None:
    if labels is None:
        return None
    if isinstance(labels, str | Path):
        try:
            names: Sequence[str] = read_bytes(Path(labels), "class names, one per line").decode().splitlines()
        except UnicodeDecodeError as error:
            raise InputError(f"{labels}: not UTF-8 text; expected class names, one per line") from error
        where = str(labels)
    else:
        names, where = labels, "labels"
    if len(names) != classes:
        raise InputError(f"{where}: received {len(names)} names; expected {classes}, one per line")
    return names
