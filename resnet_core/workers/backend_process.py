"""A backend in a worker process: its verbs as methods, with arrays in and out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np

from resnet_core.backend import environment
from resnet_core.errors import BackendError, MissingBackendError, ResNetError
from resnet_core.spec_files import to_json
from resnet_core.specification import ResNetSpec
from resnet_core.training.contract import TrainingState
from resnet_core.training.recipe import Recipe
from resnet_core.training.recipe_files import recipe_to_json
from resnet_core.weights import Weights, cast
from resnet_core.workers import TIME_LIMIT
from resnet_core.workers.child import Arrays
from resnet_core.workers.parent import Worker


@dataclass(frozen=True)
class Description:
    """The contents of a native model: {tensor: shape}, the number of trained values, and of all values."""

    shapes: Mapping[str, tuple[int, ...]]
    parameters: int
    state: int


@dataclass(frozen=True)
class Seconds:
    """Duration of the first prediction, and the median of `repeats` later ones."""

    first: float
    steady: float
    repeats: int


class BackendProcess:
    """A backend's worker process and the model in it. Use as a context manager.

    `dtype` and `device` are the requested ones until `open` has run, and the ones in use from then on. A request may
    take `time_limit` seconds. Every method raises WorkerError if the process crashes, is killed or hangs, and any
    ResNetError that the backend raises; each message starts with the backend's name.
    """

    def __init__(
        self,
        name: str,
        python: str | None = None,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        time_limit: float = TIME_LIMIT,
    ) -> None:
        self.name, self.device, self.dtype, self.time_limit = name, device, dtype, time_limit
        self.versions: dict[str, str] = {}
        self._begun = False
        defaults = environment(name)
        with _named(name):
            self._worker = Worker(python, defaults=defaults)

    def __enter__(self) -> BackendProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._worker.close()

    def begin(self, *, only_exact: bool = False) -> None:
        """Let the process import the backend and set itself up, while this one does something else until `open`.

        With `only_exact`, a backend without exact float64 uses float32 instead, and `dtype` is then "float32".
        """
        self._begun = True
        self._worker.submit(
            "open_backend", backend=self.name, device=self.device, dtype=self.dtype, only_exact=only_exact
        )

    def open(self, *, only_exact: bool = False) -> None:
        """Wait for what `begin` began, or begin now. Comes before all other requests."""
        if not self._begun:
            self.begin(only_exact=only_exact)
        with _named(self.name):
            opened, _ = self._worker.result(self.time_limit)
        self.device, self.dtype, self.versions = opened["device"], opened["dtype"], opened["versions"]

    def build(self, spec: ResNetSpec, weights: Weights, taps: Sequence[str] = ()) -> None:
        """Build the model that the other methods use, in the process's dtype."""
        self.call("build", cast(weights, self.dtype), spec=to_json(spec), taps=list(taps))

    def build_fast(self, spec: ResNetSpec, weights: Weights, *, pictures: int, size: tuple[int, int]) -> None:
        """Build the model for `predict` alone, as so many pictures of a size are predicted soonest."""
        self.call("build_fast", cast(weights, self.dtype), spec=to_json(spec), pictures=pictures, size=list(size))

    def describe(self) -> Description:
        """What the native model actually contains."""
        found, _ = self.call("describe")
        shapes = {name: tuple(shape) for name, shape in found["shapes"].items()}
        return Description(shapes, found["parameters"], found["state"])

    def native_tensors(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """{neutral name: (the framework's own name, its shape there)} of every tensor."""
        found, _ = self.call("native_tensors")
        return {name: (own, tuple(shape)) for name, (own, shape) in found.items()}

    def time_predictions(self, images: np.ndarray, *, repeats: int, budget: float) -> tuple[Seconds, int]:
        """(durations of `predict`, peak memory in bytes). The repeats end after about `budget` seconds in total."""
        found, _ = self.call("time_predictions", {"images": images}, repeats=repeats, budget=budget)
        return Seconds(**found["seconds"]), found["peak_memory_bytes"]

    def predict(self, images: np.ndarray) -> Arrays:
        """{tap: array} in evaluation mode, or {"output": array} if the model was built without taps."""
        return self.call("predict", {"images": images})[1]

    def gradients(self, images: np.ndarray, cotangent: np.ndarray) -> Weights:
        """{parameter: gradient} of sum(output * cotangent) in training mode."""
        return self.call("gradients", {"images": images, "cotangent": cotangent})[1]

    def train_steps(
        self, spec: ResNetSpec, weights: Weights, recipe: Recipe, images: np.ndarray, labels: np.ndarray
    ) -> tuple[np.ndarray, Weights]:
        """(loss of every step, weights afterwards) of training on images (steps, batch, …), labels (steps, batch)."""
        arrays = TrainingState(cast(weights, self.dtype)).to_arrays() | {"images": images, "labels": labels}
        _, found = self.call("train_steps", arrays, spec=to_json(spec), recipe=recipe_to_json(recipe), dtype=self.dtype)
        return found["loss"], TrainingState.from_arrays(found).weights

    def call(self, task: str, arrays: Arrays | None = None, **arguments: Any) -> tuple[Any, Arrays]:
        """(result, arrays) of any task, as in `Worker.call`."""
        with _named(self.name):
            return self._worker.call(task, arrays, time_limit=self.time_limit, **arguments)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Put the backend's name before a message, except in the two kinds of error that already name it."""
    try:
        yield
    except (BackendError, MissingBackendError):
        raise
    except ResNetError as error:
        raise type(error)(f"{name}: {error}") from error
