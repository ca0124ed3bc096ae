"""Loss and accuracy on the test pictures: of a trainer during a run, or of a run's saved network in any framework."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from resnet_core.backend import DEVICES, load_backend
from resnet_core.data.dataset import Dataset
from resnet_core.data.held_out import require_held_out
from resnet_core.data.named import dataset
from resnet_core.errors import require_choice
from resnet_core.inference import fast_model
from resnet_core.numerics import log_softmax
from resnet_core.training.parallel.shards import Share
from resnet_core.training.pipeline import Pipeline
from resnet_core.training.run_folder import RunFolder
from resnet_core.weight_file import load_weights


@dataclass(frozen=True)
class Scores:
    """Mean cross-entropy and accuracy on the test pictures; `classes` (n,) int64 are the predicted classes.

    `top5` is the share of pictures whose class is among the five likeliest.
    """

    loss: float
    accuracy: float
    top5: float
    classes: np.ndarray = field(repr=False, compare=False)


@dataclass(frozen=True)
class Evaluation:
    """The result of `evaluate`.

    `weights` is "best" or "last", `device` the one that was used, `data` the name of the data set, `pictures` the
    number of its test pictures, or of those held out: `pictures_name` is "test" or "validation". `classes` (pictures,)
    int64 are the predicted classes. `confusion` (class, class) int64 counts the pictures of each class, by rows, that
    were taken for each, by columns; `names` are the classes'.
    """

    run: str
    weights: str
    backend: str
    device: str
    data: str
    pictures: int
    pictures_name: str
    accuracy: float
    loss: float
    top5: float
    names: tuple[str, ...] = field(repr=False)
    confusion: np.ndarray = field(repr=False, compare=False)
    classes: np.ndarray = field(repr=False, compare=False)

    @property
    def per_class(self) -> dict[str, float | None]:
        """{name: accuracy on the pictures of this class}; None for a class without pictures."""
        counts = self.confusion.sum(1)
        right = self.confusion.diagonal()
        return {
            name: float(hits / count) if count else None
            for name, hits, count in zip(self.names, right, counts, strict=True)
        }

    def to_json(self) -> dict[str, Any]:
        """Everything except the classes of the single pictures, as plain values, and `per_class`."""
        found = {name: value for name, value in vars(self).items() if name not in ("classes", "names", "confusion")}
        return {**found, "per_class": self.per_class, "confusion": self.confusion.tolist()}


def score(
    predict: Callable[..., np.ndarray],
    pipeline: Pipeline,
    progress: Callable[[int, int], None] = lambda done, total: None,
    share: Share | None = None,
) -> Scores:
    """The scores of a network on the pipeline's test pictures.

    `predict` maps images (batch, height, width, channels) to logits (batch, classes). With `share`, it is given those
    that this process predicts, and how many all are, and returns the logits of all. The loss is without label
    smoothing. `progress` is called with (pictures seen, pictures in all).
    """
    loss, among, seen, classes = 0.0, 0, 0, []
    for images, labels in pipeline.test_batches(None if share is None else share.tested):
        logits = predict(images) if share is None else predict(images, len(labels))
        own = logits[np.arange(len(labels)), labels]
        loss -= log_softmax(logits)[np.arange(len(labels)), labels].sum()
        among += int(((logits > own[:, None]).sum(-1) < 5).sum())
        classes.append(logits.argmax(-1))
        seen += len(labels)
        progress(seen, len(pipeline.data.test))
    predicted, labels = np.concatenate(classes), pipeline.data.test.labels
    return Scores(float(loss / len(labels)), float((predicted == labels).mean()), among / len(labels), predicted)


def evaluate(
    run: str | Path,
    data: str | Path | Dataset | None = None,
    *,
    backend: str | None = None,
    weights: str = "best",
    device: str = "auto",
    data_dir: str | Path | None = None,
    validation: float | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Test accuracy and loss of a run's network, in this process.

    `run` is the folder that `train` wrote; `data` is a Dataset, or a name or path for `dataset`, with `data_dir` as
    its folder, by default what the run was trained on, and of data without a test split what the run held out, or the
    share `validation`. The pictures are prepared according to the run's recipe.
    `backend` defaults to the one that trained last; `weights` is "best" (by test accuracy) or "last". The backend is
    configured for the device and the run's dtype. `progress` is called with (pictures seen, pictures in all).

    Raises InputError, one line, for anything that cannot be used or does not fit.
    """
    require_choice("weights", weights, ("best", "last"))
    require_choice("device", device, DEVICES)
    folder = RunFolder(Path(run))
    spec, recipe, about = folder.open()
    name = backend or folder.last_backend()
    data = folder.data() if data is None else data
    if not isinstance(data, Dataset):
        data = dataset(data, data_dir, validation=folder.validation(validation), seed=recipe.seed)
    require_held_out(data, validation)
    pipeline = Pipeline(data, recipe, spec)
    arrays, _ = load_weights(Path(run) / f"{weights}.safetensors", spec=spec)
    module = load_backend(name)
    used = module.configure(device, about["dtype"])
    pictures, size = len(data.test), pipeline.size
    model = fast_model(module, spec, arrays, dtype=about["dtype"], pictures=pictures, size=size)
    scores = score(lambda images: module.predict(model, images), pipeline, progress)
    return Evaluation(
        run=str(run),
        weights=weights,
        backend=name,
        device=used,
        data=pipeline.data.name,
        pictures=pictures,
        pictures_name=data.test_name,
        accuracy=scores.accuracy,
        loss=scores.loss,
        top5=scores.top5,
        names=pipeline.data.classes,
        confusion=_confusion(pipeline.data.test.labels, scores.classes, len(pipeline.data.classes)),
        classes=scores.classes,
    )


def _confusion(labels: np.ndarray, predicted: np.ndarray, count: int) -> np.ndarray:
    found = np.zeros((count, count), np.int64)
    np.add.at(found, (labels, predicted), 1)
    return found
