"""Loss and accuracy on the test pictures: of a trainer during a run, or of a run's saved network in any framework."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from resnet_core.backend import DEVICES, load_backend
from resnet_core.data.dataset import Dataset
from resnet_core.data.named import dataset
from resnet_core.errors import require_choice
from resnet_core.numerics import log_softmax
from resnet_core.training.pipeline import Pipeline
from resnet_core.training.run_folder import RunFolder
from resnet_core.weight_file import load_weights


@dataclass(frozen=True)
class Scores:
    """Mean cross-entropy and accuracy on the test pictures; `classes` (n,) int64 are the predicted classes."""

    loss: float
    accuracy: float
    classes: np.ndarray = field(repr=False, compare=False)


@dataclass(frozen=True)
class Evaluation:
    """The result of `evaluate`.

    `weights` is "best" or "last", `device` the one that was used, `data` the name of the data set, `pictures` the
    number of its test pictures; `classes` (pictures,) int64 are the predicted classes.
    """

    run: str
    weights: str
    backend: str
    device: str
    data: str
    pictures: int
    accuracy: float
    loss: float
    classes: np.ndarray = field(repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Everything except the classes, as plain values."""
        return {name: value for name, value in vars(self).items() if name != "classes"}


def score(predict: Callable[[np.ndarray], np.ndarray], pipeline: Pipeline) -> Scores:
    """The scores of a network on the pipeline's test pictures.

    `predict` maps images (batch, height, width, channels) to logits (batch, classes). The loss is without label
    smoothing.
    """
    loss, classes = 0.0, []
    for images, labels in pipeline.test_batches():
        logits = predict(images)
        loss -= log_softmax(logits)[np.arange(len(labels)), labels].sum()
        classes.append(logits.argmax(-1))
    predicted, labels = np.concatenate(classes), pipeline.data.test.labels
    return Scores(float(loss / len(labels)), float((predicted == labels).mean()), predicted)


def evaluate(
    run: str | Path,
    data: str | Path | Dataset,
    *,
    backend: str | None = None,
    weights: str = "best",
    device: str = "auto",
    data_dir: str | Path | None = None,
) -> Evaluation:
    """Test accuracy and loss of a run's network, in this process.

    `run` is the folder that `train` wrote; `data` is a Dataset, or a name or path for `dataset`, with `data_dir` as
    its folder. The pictures are prepared according to the run's recipe. `backend` defaults to the one that trained
    last; `weights` is "best" (by test accuracy) or "last". The backend is configured for the device and the run's
    dtype.

    Raises InputError, one line, for anything that cannot be used or does not fit.
    """
    require_choice("weights", weights, ("best", "last"))
    require_choice("device", device, DEVICES)
    spec, recipe, about = RunFolder(Path(run)).open()
    name = backend or about["sessions"][-1]["backend"]
    pipeline = Pipeline(data if isinstance(data, Dataset) else dataset(data, data_dir), recipe, spec)
    arrays, _ = load_weights(Path(run) / f"{weights}.safetensors", spec=spec)
    module = load_backend(name)
    used = module.configure(device, about["dtype"])
    model = module.build(spec, weights=arrays, dtype=about["dtype"])
    scores = score(lambda images: module.predict(model, images), pipeline)
    return Evaluation(
        run=str(run),
        weights=weights,
        backend=name,
        device=used,
        data=pipeline.data.name,
        pictures=len(pipeline.data.test),
        accuracy=scores.accuracy,
        loss=scores.loss,
        classes=scores.classes,
    )
