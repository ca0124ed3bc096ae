"""One long-lived worker process per engine, and the one check that every parity test uses."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

import resnet_core as rn
from engines import ENGINES, QUICK, TESTS
from resnet_core.backend import environment as environment_of
from resnet_core.errors import ResNetError
from resnet_core.numerics import relative_error
from resnet_core.spec_files import to_json
from resnet_core.tolerances import TOLERANCES
from resnet_core.weights import Weights
from resnet_core.workers.child import Arrays
from resnet_core.workers.parent import Worker

MAIN = ("torch", "keras", "flax")
#: What a tap may be off by, {dtype: limit}.
TOLERANCE = TOLERANCES["output"]

Key = TypeVar("Key")


class EnginePool:
    """Engines by name and dtype, started when first asked for.

    `optimized`: in float32 as users compile. What XLA leaves out for `QUICK` it adds up one by one, and rounds more:
    1.3e-5 in narrow BiT networks, where it is 5.5e-6.
    """

    def __init__(self, device: str, pythons: Mapping[str, str], *, optimized: bool = False) -> None:
        self.device = device
        self._optimized = optimized
        self._pythons = pythons
        self._engines: dict[str, Worker] = {}
        self._pool = ThreadPoolExecutor(2 * len(ENGINES))

    def engine(self, name: str, dtype: str) -> Worker:
        """The engine's process for `dtype`. Raises InputError where its device is missing."""
        backend, environment = ENGINES[name]
        key = f"{name} {dtype}"
        if key not in self._engines:
            variables = {**environment, "PYTHONPATH": f"{TESTS}:{TESTS / 'parity'}"}
            if self.device == "cpu":
                variables |= QUICK
            if self._optimized and dtype == "float32":
                variables["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "")
            engine = Worker(self._pythons.get(name), variables, environment_of(backend))
            device = "cpu" if backend == "numpy" else self.device
            try:
                engine.call("open_backend", backend=backend, device=device, dtype=dtype)
            except ResNetError:
                engine.close()
                raise
            self._engines[key] = engine
            if name in ("keras_jax", "keras_torch"):
                engine.call("engine_tasks:exact_keras_float64")
        return self._engines[key]

    def sweep(
        self, name: str, spec: rn.ResNetSpec, inputs: Iterable[tuple[Weights, np.ndarray]], dtype: str
    ) -> list[Arrays]:
        """{tap: value} for each (weights, images), evaluation mode. The model is built once, for the first."""
        engine = self.engine(name, dtype)
        # Keras in float32 as users run it; in float64 without the seconds that tracing a graph takes.
        eagerly = name == "keras" and dtype == "float64"
        if eagerly:
            engine.call("engine_tasks:run_eagerly", eagerly=True)
        found = []
        for index, (weights, images) in enumerate(inputs):
            if index == 0:
                taps = list(rn.taps(spec))
                engine.call("build", rn.cast(weights, dtype), spec=to_json(spec), taps=taps, dtype=dtype)
            else:
                engine.call("set_weights", rn.cast(weights, dtype))
            found.append(engine.call("predict", {"images": images})[1])
        if eagerly:
            engine.call("engine_tasks:run_eagerly", eagerly=False)
        return found

    def taps(self, name: str, spec: rn.ResNetSpec, weights: Weights, images: np.ndarray, dtype: str) -> Arrays:
        """{tap: value} of the spec in one engine, evaluation mode."""
        return self.sweep(name, spec, [(weights, images)], dtype)[0]

    def reference(self, spec: rn.ResNetSpec, weights: Weights, images: np.ndarray) -> Arrays:
        """{tap: value} of the NumPy float64 truth."""
        return self.taps("numpy", spec, weights, images, "float64")

    def everywhere(self, keys: Iterable[Key], function: Callable[[Key], Any]) -> dict[Key, Any]:
        """{key: function(key)}, the engines working at the same time; no two keys may mean the same process."""
        keys = list(keys)
        return dict(zip(keys, self._pool.map(function, keys), strict=True))

    def close(self) -> None:
        for engine in self._engines.values():
            engine.close()
        self._pool.shutdown()


def errors(found: Arrays, truth: Arrays) -> dict[str, float]:
    """{name: norm-wise error}; a name that one side lacks is infinitely wrong."""
    missing = found.keys() ^ truth.keys()
    return {name: relative_error(found[name], truth[name]) for name in found.keys() & truth.keys()} | dict.fromkeys(
        missing, float("inf")
    )


def problems(found: Arrays, truth: Arrays, tolerance: float) -> dict[str, float]:
    """THE check: what differs by more than the tolerance. Empty means equal."""
    return {name: error for name, error in errors(found, truth).items() if not error <= tolerance}


def batch(spec: rn.ResNetSpec, size: tuple[int, int], seed: int, count: int = 2) -> np.ndarray:
    """Standard normal images, (count, height, width, channels) float32."""
    shape = (count, *size, spec.in_channels)
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


__all__ = ["ENGINES", "MAIN", "TOLERANCE", "EnginePool", "batch", "errors", "problems"]
