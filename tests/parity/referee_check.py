"""What every referee test asks: does the spec, with the referee's weights, compute what the referee computed?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import resnet_core as rn
from engine_pool import MAIN, EnginePool, errors
from resnet_core.weights import Weights
from resnet_core.workers.child import Arrays

#: Every backend and dtype. NumPy's computes in float64 whatever it is given.
RUNS = [(engine, dtype) for dtype in ("float64", "float32") for engine in MAIN] + [("numpy", "float64")]


@dataclass(frozen=True)
class Referee:
    """Somebody else's network: the spec that should say it, its renamed weights, and what it computed."""

    spec: rn.ResNetSpec
    weights: Weights
    images: np.ndarray
    truth: Arrays


def outputs(pool: EnginePool, referee: Referee) -> dict[tuple[str, str], dict[str, float]]:
    """{(engine, dtype): {tap: error}} of every run, the engines working at the same time."""

    def run(engine: str) -> dict[tuple[str, str], dict[str, float]]:
        return {(name, dtype): measure(pool, referee, name, dtype) for name, dtype in RUNS if name == engine}

    parts = pool.everywhere((*MAIN, "numpy"), run).values()
    return {key: found for part in parts for key, found in part.items()}


def measure(pool: EnginePool, referee: Referee, engine: str, dtype: str) -> dict[str, float]:
    """{tap: error} of one engine against the referee."""
    taps = pool.taps(engine, referee.spec, referee.weights, referee.images, dtype)
    return errors(taps, referee.truth)


#: What is wrong about a referee: fields of the spec, or a change of the weights.
Defect = dict[str, Any] | Callable[[Weights], Weights]


def planted(referee: Referee, defect: Defect) -> Referee:
    """The same referee, misread."""
    if callable(defect):
        return replace(referee, weights=defect(referee.weights))
    return replace(referee, spec=rn.spec(referee.spec, **defect))
