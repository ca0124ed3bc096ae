"""The deeper levels of a comparison: gradients of every tensor, and two steps of training.

In float64 both are compared directly. In float32 a gradient through ReLU does not depend continuously on rounding: a
single flipped sign among millions changes a tensor's gradient by several percent, even within one framework. At 64
pixels, in PyTorch on a CPU, correct code has an error of 1e-5 in resnet18 and 0.4 in resnet_v2_50. There, two steps
of training propagate it to errors of 3e-3 in the losses, 2e-3 in the weights and 2e-4 in the running statistics. No
tolerance separates that from a mistake. So in float32

- everything at these levels is decided in a narrow network of the same kind (`narrowed`), within the limits of
  `resnet_core/tolerances.py`: `gradients_narrow`, and `loss`, `weights` and `statistics`;
- `gradients`, those of the requested network, are shown but decide nothing.

Correct code reaches 2e-5 in narrow networks. Occasionally a sign flips there too (of 42 draws, in one for the
gradients and in three for the weights), hence several draws: a flip occurs in one and not in the next, a mistake in
all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from resnet_core.analysis import parameters, state, tap_shapes
from resnet_core.architecture import output_name
from resnet_core.comparison.narrow import narrowed
from resnet_core.initialization import probe_weights
from resnet_core.numerics import gradient_errors, relative_error, structurally_zero
from resnet_core.specification import ResNetSpec
from resnet_core.tolerances import TOLERANCES
from resnet_core.training.recipe import Recipe
from resnet_core.weights import Weights
from resnet_core.workers.backend_process import BackendProcess

#: What each error of these levels is: {key of `max_error`: quantity in `TOLERANCES`}.
QUANTITIES = {"gradients": "gradients", "loss": "loss", "weights": "weights", "statistics": "weights"}

#: Maximum number of draws of the narrow network; the first within the tolerances decides.
DRAWS = 5

#: Number of images in a batch of the narrow network.
BATCH = 4

#: Two steps that use everything: Nesterov momentum, coupled weight decay, a learning rate that drops.
RECIPE = Recipe(
    name="compare", learning_rate=0.01, momentum=0.9, nesterov=True, weight_decay=1e-4, schedule="step",
    milestones=(1,), steps=2, batch_size=4, label_smoothing=0.1,
)  # fmt: skip


@dataclass(frozen=True)
class Problem:
    """A network, its weights and one batch: images, a gradient with respect to the network's output, and classes.

    `trains` says whether training steps are part of the problem.
    """

    spec: ResNetSpec
    weights: Weights
    images: np.ndarray
    cotangent: np.ndarray
    labels: np.ndarray
    trains: bool


@dataclass(frozen=True)
class Solution:
    """One backend's gradients and, if it trained, the loss of each step and the weights afterward."""

    gradients: Weights
    loss: np.ndarray | None = None
    weights: Weights = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """Errors, the tolerances for those that decide, and lines about what cannot be compared."""

    max_error: dict[str, float]
    tolerances: dict[str, float]
    problems: list[str]

    @property
    def excess(self) -> float:
        """The largest error as a multiple of its tolerance."""
        return max(self.max_error[key] / limit for key, limit in self.tolerances.items())


class Truth:
    """The problems of one comparison and the reference's solutions, each computed when first needed."""

    def __init__(self, spec: ResNetSpec, weights: Weights, images: np.ndarray, *, trains: bool, limit: float) -> None:
        self.asked = _problem(spec, weights, images, trains=trains)
        self._limit = limit
        self._solutions: dict[int, tuple[Problem, Solution]] = {}

    def at_full_width(self) -> Solution:
        """The solution for the requested network."""
        return self._solved(-1)[1]

    def narrow(self, draw: int) -> tuple[Problem, Solution]:
        """(problem, solution) of a narrow network drawn with the seed `draw`."""
        return self._solved(draw)

    def _solved(self, draw: int) -> tuple[Problem, Solution]:
        if draw not in self._solutions:
            problem = self.asked if draw < 0 else narrow_problem(self.asked.spec, draw, trains=self.asked.trains)
            with BackendProcess("numpy", dtype="float64", time_limit=self._limit) as process:
                process.open()
                self._solutions[draw] = problem, solve(process, problem)
        return self._solutions[draw]


def narrow_problem(spec: ResNetSpec, seed: int, *, trains: bool) -> Problem:
    """The narrow network of the spec's kind, with weights and standard normal images drawn from the seed."""
    narrow = narrowed(spec)
    shape = (BATCH, *narrow.input_size, narrow.in_channels)
    images = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return _problem(narrow, probe_weights(narrow, seed), images, trains=trains)


def solve(process: BackendProcess, problem: Problem, *, only_gradients: bool = False) -> Solution:
    """One backend's solution of the problem."""
    process.build(problem.spec, problem.weights)
    gradients = process.gradients(problem.images, problem.cotangent)
    if only_gradients or not problem.trains:
        return Solution(gradients)
    images, labels = (np.stack([rows] * int(RECIPE.steps or 0)) for rows in (problem.images, problem.labels))
    return Solution(gradients, *process.train_steps(problem.spec, problem.weights, RECIPE, images, labels))


def judge(process: BackendProcess, truth: Truth) -> Verdict:
    """Compare one backend with the reference, by the rule for the dtype in which it computes."""
    limits = {key: TOLERANCES[quantity][process.dtype] for key, quantity in QUANTITIES.items()}
    if process.dtype == "float64":
        return _verdict(solve(process, truth.asked), truth.at_full_width(), truth.asked.spec, limits)
    shown = _verdict(solve(process, truth.asked, only_gradients=True), truth.at_full_width(), truth.asked.spec, limits)
    best: Verdict | None = None
    for draw in range(DRAWS):
        problem, reference = truth.narrow(draw)
        verdict = _verdict(solve(process, problem), reference, problem.spec, limits)
        if best is None or verdict.excess < best.excess:
            best = verdict
        if best.excess <= 1 or shown.problems or verdict.problems:  # a wrong name is wrong in every draw
            break
    assert best is not None
    return Verdict(
        {"gradients": shown.max_error["gradients"], **_narrow_keys(best.max_error)},
        _narrow_keys(best.tolerances),
        shown.problems or best.problems,
    )


def gradient_problems(gradients: Mapping[str, np.ndarray], spec: ResNetSpec) -> list[str]:
    """A line for each problem that prevents a comparison: missing or unknown names, wrong shapes, values not finite."""
    expected = parameters(spec)
    shared = [name for name in expected if name in gradients]
    groups = {
        "missing": [name for name in expected if name not in gradients],
        "unknown": [name for name in gradients if name not in expected],
        "of a wrong shape": [name for name in shared if gradients[name].shape != expected[name]],
        "not finite": [name for name in shared if not _is_finite(gradients[name])],
    }
    return [
        f"gradients: {len(names)} of {len(expected)} {what} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
        for what, names in groups.items()
        if names
    ]


def _problem(spec: ResNetSpec, weights: Weights, images: np.ndarray, *, trains: bool) -> Problem:
    rng = np.random.default_rng(0)
    cotangent = rng.standard_normal((len(images), *tap_shapes(spec)[output_name(spec)]))
    return Problem(spec, weights, images, cotangent, rng.integers(0, spec.classes or 1, len(images)), trains)


def _verdict(found: Solution, reference: Solution, spec: ResNetSpec, limits: Mapping[str, float]) -> Verdict:
    errors = {"gradients": max(gradient_errors(found.gradients, reference.gradients).values())}
    problems = gradient_problems(found.gradients, spec)
    if found.loss is not None and reference.loss is not None:
        trained = reference.gradients.keys() - structurally_zero(reference.gradients)
        statistics = state(spec).keys() - reference.gradients.keys()
        errors["loss"] = relative_error(found.loss, reference.loss)
        errors["weights"] = _largest_error(found.weights, reference.weights, trained)
        errors["statistics"] = _largest_error(found.weights, reference.weights, statistics)
        if lost := [name for name in reference.weights if name not in found.weights]:
            problems.append(f"training: {len(lost)} of {len(reference.weights)} weights missing ({lost[0]}, …)")
    return Verdict(errors, {key: limits[key] for key in errors}, problems)


def _largest_error(found: Weights, reference: Weights, names: Iterable[str]) -> float:
    errors = (relative_error(found[name], reference[name]) if name in found else float("inf") for name in names)
    return max(errors, default=0.0)


def _narrow_keys(values: Mapping[str, float]) -> dict[str, float]:
    """Rename `gradients` to `gradients_narrow`, the key of the narrow network's gradients."""
    return {"gradients_narrow" if key == "gradients" else key: value for key, value in values.items()}


def _is_finite(array: np.ndarray) -> bool:
    return array.dtype.kind in "fiu" and bool(np.isfinite(array).all())
