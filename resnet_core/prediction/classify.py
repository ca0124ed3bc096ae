"""Pictures in, the most likely classes out, by any backend."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from resnet_core.backend import DEVICES
from resnet_core.conversion.read import read_weights
from resnet_core.data.images import load_image
from resnet_core.errors import InputError, require_choice
from resnet_core.files import read_bytes
from resnet_core.numerics import log_softmax
from resnet_core.spec_files import to_json
from resnet_core.specification import ResNetSpec
from resnet_core.workers.parent import Worker


def classify(
    spec: ResNetSpec,
    images: Sequence[Path],
    weights: Path,
    backend: str,
    top: int = 5,
    labels: Path | None = None,
    device: str = "auto",
) -> list[dict[str, Any]]:
    """[{"image", "top": [{"class", "label", "probability"}, …]}, …], the most likely class first.

    Pictures are prepared as torchvision does it, to the spec's input size; of equal probabilities the
    smaller class comes first. Raises InputError for anything that cannot be read or does not fit.
    """
    require_choice("device", device, DEVICES)
    if spec.classes is None or not spec.global_pool:
        raise InputError("predict: the spec has no classifier; expected classes and global_pool = true")
    names = _labels(labels, spec.classes)
    loaded = read_weights(weights, spec)
    batch = np.stack([load_image(path, spec.input_size, spec.in_channels) for path in images])
    dtype = next(iter(loaded.values())).dtype.name
    with Worker() as engine:
        engine.call("open_backend", backend=backend, device=device, dtype=dtype)
        engine.call("build", loaded, spec=to_json(spec), taps=[], dtype=dtype)
        # One picture at a time: memory does not grow with their number.
        logits = [engine.call("predict", {"images": image[None]})[1]["output"][0] for image in batch]
    return [
        {"image": str(path), "top": _top(row, min(top, spec.classes), names)}
        for path, row in zip(images, logits, strict=True)
    ]


def _top(logits: np.ndarray, count: int, names: Sequence[str] | None) -> list[dict[str, Any]]:
    probabilities = np.exp(log_softmax(logits))
    order = np.argsort(-probabilities, kind="stable")[:count]
    return [
        {"class": int(k), "label": names[k] if names else None, "probability": float(probabilities[k])} for k in order
    ]


def _labels(path: Path | None, classes: int) -> list[str] | None:
    if path is None:
        return None
    try:
        names = read_bytes(path, "class names, one a line").decode().splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text; expected class names, one a line") from error
    if len(names) != classes:
        raise InputError(f"{path}: received {len(names)} names; expected {classes}, one a line")
    return names
