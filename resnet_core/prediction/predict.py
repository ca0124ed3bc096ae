"""From pictures to their most likely classes, in any backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from resnet_core.conversion.published import imagenet_classes
from resnet_core.errors import InputError, printable
from resnet_core.files import read_bytes
from resnet_core.numerics import log_softmax
from resnet_core.prediction.backend import last_backend, prediction_backend
from resnet_core.prediction.network import TrainedNetwork, trained_network
from resnet_core.prediction.pictures import PathLike, picture_batches, picture_files
from resnet_core.spec_files import Source
from resnet_core.workers.backend_process import BackendProcess
from resnet_core.workers.backend_worker import importing_worker
from resnet_core.workers.parent import Worker

#: Pictures that are predicted at once.
BATCH = 64


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
    """The most likely classes of a picture, the most likely first; `image` is its path as given.

    `error` says why a picture could not be read; `top` is empty then.
    """

    image: str
    top: tuple[ClassScore, ...]
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """{"image", "top": [{"class", "label", "probability"}, …]}, and "error" where there is one."""
        found: dict[str, Any] = {"image": self.image, "top": [score.to_json() for score in self.top]}
        return found if self.error is None else {**found, "error": self.error}


def predict(
    network: Source | TrainedNetwork,
    pictures: PathLike | Sequence[PathLike],
    *,
    weights: PathLike | Mapping[str, np.ndarray] | None = None,
    backend: str | None = None,
    top: int = 5,
    labels: str | Path | Sequence[str] | None = None,
    device: str = "auto",
) -> list[Prediction]:
    """The `top` most likely classes of each picture, computed in a separate process.

    - `network`: a run's folder or a neutral weight file; or with `weights` a name, a .toml or .json file, or a spec.
    - `pictures`: files, and folders of them. They are prepared as the weights say, else as in torchvision
      (`trained_network`, `TrainedNetwork.assumed`).
    - `weights`: {neutral name: array}, a neutral file, or torchvision's state_dict as .safetensors or .pth.
    - `backend`: by default the one that trained the run last, or where it is not installed the first that is.
    - `labels`: the names of the classes, a file with one name per line, or "imagenet"; by default those of the
      weights.

    A picture that cannot be read has an `error`, and the others are predicted all the same. If probabilities are equal,
    the smaller class number comes first. Raises InputError, one line, for anything else that cannot be read or does not
    fit, WorkerError if the backend's process fails.
    """
    last = network.backend if isinstance(network, TrainedNetwork) else last_backend(network)
    name = prediction_backend(backend, device, last)
    with importing_worker(name) as worker:  # while the weights are read
        found = network if isinstance(network, TrainedNetwork) else trained_network(network, weights)
        return predict_in(worker, name, found, pictures, top=top, labels=labels, device=device)


def predict_in(
    worker: Worker,
    backend: str,
    network: TrainedNetwork,
    pictures: PathLike | Sequence[PathLike],
    *,
    top: int,
    labels: str | Path | Sequence[str] | None,
    device: str,
) -> list[Prediction]:
    """As `predict`, in a process of `importing_worker`."""
    if top < 1:
        raise InputError(f"top: received {top}; expected an integer from 1")
    spec = network.spec
    if spec.classes is None or not spec.global_pool:
        raise InputError("predict: the spec has no classifier; expected classes and global_pool = true")
    names = network.classes if labels is None else _labels(labels, spec.classes)
    files = picture_files(pictures)
    size = min(BATCH, len(files))
    dtype = next(iter(network.weights.values())).dtype.name
    process = BackendProcess(backend, device=device, dtype=dtype, worker=worker)
    process.begin()  # its framework is imported while the first pictures are prepared
    process.begin_fast(spec, network.weights, pictures=len(files), size=network.preparation.size)
    batches = picture_batches(files, network.preparation, size)
    first = next(batches)
    process.open()
    found: list[Prediction] = []
    for batch in chain([first], batches):
        logits = iter(_logits(process, batch.images, size, spec.classes))
        for file, error in zip(batch.files, batch.errors, strict=True):
            scores = () if error else _top(next(logits), min(top, spec.classes), names)
            found.append(Prediction(file, scores, error))
    return found


def _logits(process: BackendProcess, images: np.ndarray, size: int, classes: int) -> np.ndarray:
    """Of every image; the batch is filled up to `size`, since frameworks compile anew for each shape."""
    if not len(images):
        return images
    filled = np.concatenate([images, np.repeat(images[-1:], size - len(images), axis=0)])
    return process.logits(filled, classes)[: len(images)]


def _top(logits: np.ndarray, count: int, names: Sequence[str] | None) -> tuple[ClassScore, ...]:
    probabilities = np.exp(log_softmax(logits))
    order = np.argsort(-probabilities, kind="stable")[:count]
    return tuple(ClassScore(int(k), names[k] if names else None, float(probabilities[k])) for k in order)


def _labels(labels: str | Path | Sequence[str] | None, classes: int) -> Sequence[str] | None:
    if labels is None:
        return None
    if str(labels) == "imagenet" and not Path("imagenet").exists():
        names: Sequence[str] = imagenet_classes()
        where = "imagenet"
    elif isinstance(labels, str | Path):
        try:
            names = read_bytes(Path(labels), "class names, one per line").decode("utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise InputError(f"{labels}: not UTF-8 text; expected class names, one per line") from error
        where = str(labels)
        for number, name in enumerate(names, start=1):
            if printable(name) != name:
                raise InputError(f"{labels}: line {number} is {name[:80]!r}; expected a name that can be printed")
    else:
        names, where = labels, "labels"
    if len(names) != classes:
        raise InputError(f"{where}: received {len(names)} names; expected {classes}, one per line")
    return names
