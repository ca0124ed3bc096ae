"""What is computed in a check: a layer tree, the weights and images it is given, and what NumPy makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from resnet_core.analysis import parameters, trace
from resnet_core.backend import TrainableBackend, load_backend
from resnet_core.initialization import probe_tensors
from resnet_core.padding import Pair
from resnet_core.specification import ResNetSpec
from resnet_core.tree import Chain
from resnet_core.weights import Weights, cast

#: Images in a batch.
BATCH = 3


@dataclass(frozen=True, slots=True)
class Subject:
    """A layer tree for images of `channels`, to be tried at `sizes`; with a `spec`, it is that spec's tree."""

    tree: Chain
    channels: int
    sizes: tuple[Pair, ...]
    spec: ResNetSpec | None = None

    def build(self, backend: Any, dtype: str, weights: Weights | None = None, taps: tuple[str, ...] = ()) -> Any:
        """The backend's model of it, by default with the probe weights."""
        given = self.weights(dtype) if weights is None else weights
        if self.spec is not None:
            return backend.build(self.spec, weights=given, taps=taps, dtype=dtype)
        return backend.build_tree(self.tree, channels=self.channels, weights=given, taps=taps, dtype=dtype)

    def weights(self, dtype: str, seed: int = 0) -> Weights:
        """Probe weights: no tensor is 0 or 1 anywhere."""
        return cast(_probe(self.tree, seed), dtype)

    def parameters(self) -> list[str]:
        """The trained tensors, in order."""
        return list(parameters(self.tree))

    def images(self, size: Pair | None = None, batch: int = BATCH) -> np.ndarray:
        """Standard normal float32 images (batch, height, width, channels)."""
        shape = (batch, *(size or self.sizes[0]), self.channels)
        return np.random.default_rng(7).standard_normal(shape).astype(np.float32)

    def cotangent(self, size: Pair | None = None) -> np.ndarray:
        """Standard normal, of the shape of the output."""
        _, shape = trace(self.tree, (*(size or self.sizes[0]), self.channels))
        return np.random.default_rng(8).standard_normal((BATCH, *shape))


def aligned(weights: Weights) -> Weights:
    """Copies that start at multiples of 64 bytes, where JAX may take an array over instead of copying it."""
    result: Weights = {}
    for name, value in weights.items():
        memory = np.empty(value.nbytes + 64, np.uint8)
        start = -memory.ctypes.data % 64
        result[name] = memory[start : start + value.nbytes].view(value.dtype).reshape(value.shape)
        result[name][...] = value
    return result


def reference() -> TrainableBackend:
    """The NumPy backend, which computes in float64."""
    return load_backend("numpy")  # type: ignore[return-value]


@lru_cache(maxsize=512)
def predicted(subject: Subject, size: Pair, taps: tuple[str, ...] = ()) -> Any:
    """What the reference predicts for the subject's images of this size."""
    return reference().predict(subject.build(reference(), "float64", taps=taps), subject.images(size))


@lru_cache(maxsize=512)
def trained_once(subject: Subject) -> tuple[Any, Weights]:
    """(output, weights afterwards) of one training-mode pass of the reference."""
    model = subject.build(reference(), "float64")
    return reference().train_forward(model, subject.images()), reference().get_weights(model)


@lru_cache(maxsize=512)
def differentiated(subject: Subject) -> Weights:
    """The reference's gradients."""
    return reference().gradients(subject.build(reference(), "float64"), subject.images(), subject.cotangent())


@lru_cache(maxsize=512)
def _probe(tree: Chain, seed: int) -> Weights:
    return probe_tensors(tree, seed)
