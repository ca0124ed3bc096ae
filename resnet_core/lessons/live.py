"""The network that runs in the page: its plan, its rounded weights, sample pictures, and what the rounding changes."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from msgspec import structs

from resnet_core.analysis import state
from resnet_core.architecture import layer_tree
from resnet_core.backend import load_backend
from resnet_core.data.images import SAMPLES, read_picture, sample_fashion
from resnet_core.data.prepare import fitted, normalized, picture_mode, pixels
from resnet_core.data.readers import CLASSES
from resnet_core.data.shipped import shipped_model
from resnet_core.errors import InputError
from resnet_core.folding import folded
from resnet_core.lessons.lowering import lower, rounded, stored
from resnet_core.prediction.network import TrainedNetwork
from resnet_core.preparation import Preparation
from resnet_core.specification import ResNetSpec
from resnet_core.tree import Chain, leaves
from resnet_core.weights import Weights

#: Values that a page has room for: in float16 and base64, 0.93 MB of its 1.5.
MOST_VALUES = 350_000

#: Images that the reference computes at a time.
AT_ONCE = 10

#: In what a spec may differ from the shipped network's for that one to have the same blocks and to be worth showing.
_FREE = ("name", "in_channels", "input_size", "norm_decay", "initializer", "zero_init_residual")


@dataclass(frozen=True, slots=True, repr=False)
class Live:
    """What runs in a page, and what is said of it.

    `pictures` are (count, height, width, channels) uint8 and `labels` their classes, or None where nobody knows them.
    `distance` is max|a - b| / max|b| of the logits on them, between the rounded and the given weights, and `changed`
    has (picture, class before, class after).
    """

    spec: ResNetSpec
    plan: dict[str, Any]
    weights: Weights
    preparation: Preparation
    classes: tuple[str, ...] | None
    pictures: np.ndarray
    labels: tuple[int, ...] | None
    logits: np.ndarray
    distance: float
    changed: tuple[tuple[int, int, int], ...]
    shipped: bool = False

    @property
    def values(self) -> int:
        """How many numbers the weights are."""
        return sum(array.size for array in self.weights.values())

    def to_json(self) -> dict[str, Any]:
        """What the page's script reads."""
        prepared = {name: getattr(self.preparation, name) for name in ("channel_order", "white", "mean", "deviation")}
        return {
            "plan": self.plan,
            "weights": stored(self.weights),
            "preparation": prepared,
            "classes": self.classes,
            "pictures": base64.b64encode(self.pictures.tobytes()).decode(),
            "count": len(self.pictures),
            "labels": self.labels,
        }


def has_shipped_blocks(spec: ResNetSpec) -> bool:
    """Whether the network that ships is this one, but for the pictures that it reads."""
    _, shipped = shipped_model()
    return structs.replace(spec, **{name: getattr(shipped, name) for name in _FREE}) == shipped


def size_of(spec: ResNetSpec) -> int:
    """How many values the folded network has."""
    root, _ = folded(layer_tree(spec), {name: np.zeros(shape) for name, shape in state(spec).items()})
    return sum(int(np.prod(tensor.shape)) for _, leaf in leaves(root) for tensor in leaf.tensors().values())


def live(network: TrainedNetwork, *, shipped: bool = False) -> Live:
    """The network, ready to run in a page.

    Raises InputError where it has no classes, a layer that a page does not run, or another preparation than a page
    knows, and MissingBackendError without the NumPy backend.
    """
    spec, preparation = network.spec, network.preparation
    if spec.classes is None or not spec.global_pool:
        raise InputError("it gives no class for a whole picture")
    if preparation.mean_picture is not None:
        raise InputError("its pictures are prepared with a mean picture, which a page does not have")
    weights = {name: array.astype(np.float64) for name, array in network.weights.items()}
    root, of_root = folded(layer_tree(spec), weights)
    channels = spec.in_channels
    plan, halves = lower(root, (*preparation.size, channels)), rounded(root, of_root)
    pictures, labels = _samples(network)
    images = normalized(pictures, preparation).astype(np.float64)
    right = _logits(layer_tree(spec), weights, images)
    logits = _logits(root, {name: array.astype(np.float64) for name, array in halves.items()}, images)
    return Live(
        spec, plan, halves, preparation, network.classes, pictures, labels, logits,
        distance=float(np.abs(logits - right).max() / np.abs(right).max()),
        changed=_changed(right.argmax(1), logits.argmax(1)),
        shipped=shipped,
    )  # fmt: skip


def _logits(root: Chain, weights: Weights, images: np.ndarray) -> np.ndarray:
    """By the NumPy reference in float64, few images at a time: their maps then stay in the processor's cache."""
    backend = load_backend("numpy")
    model = backend.build_tree(root, channels=images.shape[-1], weights=weights, dtype="float64")
    return np.concatenate([backend.predict(model, images[at : at + AT_ONCE]) for at in range(0, len(images), AT_ONCE)])


def _changed(before: np.ndarray, after: np.ndarray) -> tuple[tuple[int, int, int], ...]:
    return tuple((int(n), int(before[n]), int(after[n])) for n in np.flatnonzero(before != after))


def _samples(network: TrainedNetwork) -> tuple[np.ndarray, tuple[int, ...] | None]:
    """Fashion-MNIST's pictures where they fit, with their classes where those are the network's; else the photo."""
    preparation = network.preparation
    if preparation.size == (28, 28) and preparation.channels == 1:
        pictures, labels = sample_fashion()
        return pictures, tuple(map(int, labels)) if _is_fashion(network.classes) else None
    file = SAMPLES / "photo.jpg"
    picture = pixels(fitted(read_picture(file, picture_mode(preparation.channels)), preparation, file))
    channels = np.arange(preparation.channels) % picture.shape[-1]
    return picture[None, ..., channels], None


def _is_fashion(classes: Sequence[str] | None) -> bool:
    return tuple(classes or ()) == CLASSES["fashion-mnist"]
