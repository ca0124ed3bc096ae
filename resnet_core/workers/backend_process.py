"""A backend in a worker process: its verbs as methods, with arrays in and out."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np

from resnet_core.spec_files import to_json
from resnet_core.specification import ResNetSpec
from resnet_core.training.contract import TrainingState
from resnet_core.training.recipe import Recipe
from resnet_core.training.recipe_files import recipe_to_json
from resnet_core.weights import Weights, cast
from resnet_core.workers import TIME_LIMIT
from resnet_core.workers.answers import Opened, Seconds, Timing, logits, losses, outputs, real, typed
from resnet_core.workers.backend_worker import backend_worker, named
from resnet_core.workers.child import Arrays
from resnet_core.workers.parent import Worker


class BackendProcess:
    """A backend's worker process and the model in it. Use as a context manager.

    `dtype` and `device` are the requested ones until `open` has run, and those in use from then on. A `worker` of
    `importing_worker` imports the backend already. A request may take `time_limit` seconds. Every method raises
    WorkerError if the process crashes, is killed or hangs, and any ResNetError that the backend raises; each message
    starts with the backend's name.
    """

    def __init__(
        self,
        name: str,
        python: str | None = None,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        time_limit: float = TIME_LIMIT,
        worker: Worker | None = None,
    ) -> None:
        self.name, self.device, self.dtype, self.time_limit = name, device, dtype, time_limit
        self.versions: dict[str, str] = {}
        self._begun = False
        self._taps: Sequence[str] = ()
        self._worker = backend_worker(name, python) if worker is None else worker
        self._imports, self._builds = worker is not None, False

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
        with named(self.name):
            if self._imports:
                self._worker.result(self.time_limit)
                self._imports = False
            opened = typed("configure and versions", self._worker.result(self.time_limit)[0], Opened)
            if self._builds:
                self._worker.result(self.time_limit)
                self._builds = False
        self.device, self.dtype, self.versions = opened.device, opened.dtype, opened.versions

    def build(self, spec: ResNetSpec, weights: Weights, taps: Sequence[str] = ()) -> None:
        """Build the model that the other methods use, in the process's dtype."""
        self.call("build", cast(weights, self.dtype), spec=to_json(spec), taps=list(taps))
        self._taps = taps

    def begin_fast(self, spec: ResNetSpec, weights: Weights, *, pictures: int, size: tuple[int, int]) -> None:
        """After `begin`: let it build the model for `predict` alone, as so many pictures are predicted soonest."""
        self._builds = True
        arrays = cast(weights, self.dtype)
        self._worker.submit("build_fast", arrays, spec=to_json(spec), pictures=pictures, size=list(size))

    def get_weights(self) -> Weights:
        """The neutral weights that the native model says it has."""
        found = self.call("get_weights")[1]
        with named(self.name):
            return real("get_weights", found)

    def native_tensors(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """{neutral name: (the framework's own name, its shape there)} of every tensor."""
        found, _ = self.call("native_tensors")
        with named(self.name):
            return typed("native_tensors", found, dict[str, tuple[str, tuple[int, ...]]])

    def time_predictions(self, images: np.ndarray, *, repeats: int, budget: float) -> tuple[Seconds, int]:
        """(durations of `predict`, peak memory in bytes). The repeats end after about `budget` seconds in total."""
        found, _ = self.call("time_predictions", {"images": images}, repeats=repeats, budget=budget)
        with named(self.name):
            timing = typed("peak_device_memory", found, Timing)
        return timing.seconds, timing.peak_memory_bytes

    def predict(self, images: np.ndarray) -> Arrays:
        """{tap: array} in evaluation mode, or {"output": array} if the model was built without taps."""
        found = self.call("predict", {"images": images})[1]
        with named(self.name):
            return outputs(found, self._taps)

    def logits(self, images: np.ndarray, classes: int) -> np.ndarray:
        """(batch, classes) of a model without taps, finite."""
        output = self.predict(images)["output"]
        with named(self.name):
            return logits(output, (len(images), classes))

    def gradients(self, images: np.ndarray, cotangent: np.ndarray) -> Weights:
        """{parameter: gradient} of sum(output * cotangent) in training mode."""
        found = self.call("gradients", {"images": images, "cotangent": cotangent})[1]
        with named(self.name):
            return real("gradients", found)

    def train_steps(
        self, spec: ResNetSpec, weights: Weights, recipe: Recipe, images: np.ndarray, labels: np.ndarray
    ) -> tuple[np.ndarray, Weights]:
        """(loss of every step, weights afterwards) of training on images (steps, batch, …), labels (steps, batch)."""
        arrays = TrainingState(cast(weights, self.dtype)).to_arrays() | {"images": images, "labels": labels}
        _, found = self.call("train_steps", arrays, spec=to_json(spec), recipe=recipe_to_json(recipe), dtype=self.dtype)
        with named(self.name):
            found = real("Trainer", found)
            return losses(found.get("loss"), len(images)), TrainingState.from_arrays(found).weights

    def call(self, task: str, arrays: Arrays | None = None, **arguments: Any) -> tuple[Any, Arrays]:
        """(result, arrays) of any task, as in `Worker.call`."""
        with named(self.name):
            return self._worker.call(task, arrays, time_limit=self.time_limit, **arguments)
