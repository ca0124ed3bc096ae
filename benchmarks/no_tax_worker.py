"""The part of `no_tax.py` that runs in a framework's process: two models, proven equal, then timed."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import numpy as np
import usage
from measure.timing import alternate

import resnet_core as rn
from resnet_core.backend import load_backend
from resnet_core.numerics import relative_error
from resnet_core.weights import Weights

CLASSES = 1000

# The same network in the same framework: differences come only from other fusions of the same arithmetic.
LOGITS_TOLERANCE = 1e-5
STEP_TOLERANCE = 1e-4


def measure(
    session: object,
    arrays: object,
    *,
    framework: str,
    batch: int,
    size: int,
    pairs: dict[str, int],
    warm_up: int,
) -> tuple[dict[str, Any], None]:
    """Seconds of every call of both models, forward and training step, and the differences between the two."""
    backend = load_backend(framework)
    backend.configure(device="cpu")
    run = usage.load(framework)
    spec = rn.spec("resnet50", classes=CLASSES)
    ours = rn.build(spec, backend=framework, seed=0)
    theirs, their_weights = _handwritten(framework, size)

    # No weight is 0 or 1; otherwise a wrong epsilon or swapped tensors would go unnoticed.
    weights = rn.probe_weights(spec, seed=0)
    backend.set_weights(ours, weights)
    their_weights.set_weights(theirs, weights)

    random = np.random.default_rng(0)
    images = random.standard_normal((batch, size, size, 3), dtype=np.float32)
    labels = random.integers(0, CLASSES, batch)

    forward = (run.forward(ours, images), run.forward(theirs, images))
    results: dict[str, dict[str, Any]] = {"forward": {"logits_error": _check_logits(forward[0](), forward[1]())}}
    results["forward"].update(_timed(forward, pairs["forward"], warm_up))

    step = (run.train_step(ours, images, labels), run.train_step(theirs, images, labels))
    losses = (step[0](), step[1]())
    after = (backend.get_weights(ours), their_weights.get_weights(theirs))
    results["train step"] = {"step_error": _check_step(losses, after)}
    results["train step"].update(_timed(step, pairs["train step"], warm_up))
    return {"results": results, "versions": backend.versions()}, None


def _handwritten(framework: str, size: int) -> tuple[Any, ModuleType]:
    module = importlib.import_module(f"handwritten.{framework}_resnet50")
    weights = importlib.import_module(f"handwritten.{framework}_weights")
    if framework == "torch":
        return module.ResNet50(CLASSES), weights
    if framework == "keras":
        return module.resnet50((size, size, 3), CLASSES), weights
    from flax import nnx

    return module.ResNet50(CLASSES, rngs=nnx.Rngs(0)), weights


def _timed(calls: tuple[Any, Any], pairs: int, warm_up: int) -> dict[str, list[float]]:
    for call in calls * warm_up:
        call()
    ours, theirs = alternate(*calls, pairs)
    return {"ours_seconds": ours, "handwritten_seconds": theirs}


def _check_logits(ours: np.ndarray, theirs: np.ndarray) -> float:
    return _checked("logits", relative_error(ours, theirs), LOGITS_TOLERANCE)


def _check_step(losses: tuple[float, float], after: tuple[Weights, Weights]) -> float:
    """One step from the same weights: the loss, and the running statistics, which show the momentum."""
    ours, theirs = after
    errors = {name: relative_error(ours[name], theirs[name]) for name in theirs if "running" in name}
    errors["loss"] = relative_error(np.array(losses[0]), np.array(losses[1]))
    worst = max(errors, key=lambda name: errors[name])
    return _checked(worst, errors[worst], STEP_TOLERANCE)


def _checked(what: str, error: float, tolerance: float) -> float:
    if not error <= tolerance:
        raise AssertionError(f"not the same network: {what} differs by {error:.1e} (allowed {tolerance:g})")
    return error
