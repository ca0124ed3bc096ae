"""What every referee test asks: does the spec, with the referee's weights, compute what the referee computed?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

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


#: The frameworks whose graphs are slow to make are asked of a few referees in the ordinary profile: that the spec is
#: the referee's network, any of them tells, and that all compute what the spec says is asked elsewhere.
SLOW = tuple((engine, dtype) for engine in ("keras", "flax") for dtype in ("float32", "float64"))


def asked(names: Iterable[str], everywhere: tuple[str, ...] = ()) -> list[Any]:
    """(name, engine, dtype) of every run of the referees; SLOW ones are long, but for those named."""
    return [
        pytest.param(name, *run, marks=pytest.mark.long if run in SLOW and name not in everywhere else ())
        for name in names
        for run in RUNS
    ]


def outputs(pool: EnginePool, referee: Referee, slow: bool) -> dict[tuple[str, str], dict[str, float]]:
    """{(engine, dtype): {tap: error}} of every run, the engines working at the same time; without SLOW unless asked."""
    runs = [run for run in RUNS if slow or run not in SLOW]

    def run(engine: str) -> dict[tuple[str, str], dict[str, float]]:
        return {(name, dtype): measure(pool, referee, name, dtype) for name, dtype in runs if name == engine}

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
