"""The deeper levels of a comparison: gradients of every tensor, and a few steps of training.

Both are exact in float64. In float32 a gradient through ReLU is not a continuous function of the rounding: one
sign that flips in four million moves a tensor's gradient by a per cent, in one framework against itself. So in
float32 a backend is held against its own noise: what changes when the same batch comes in another order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from resnet_core.analysis import parameters, state, tap_shapes
from resnet_core.architecture import output_name
from resnet_core.numerics import relative_error
from resnet_core.spec_files import to_json
from resnet_core.specification import ResNetSpec
from resnet_core.training.contract import TrainingState
from resnet_core.training.recipe import Recipe, check_trainable
from resnet_core.training.recipe_files import recipe_to_json
from resnet_core.weights import Weights
from resnet_core.workers.parent import Worker

#: Largest error that still counts as equal. Right code reaches 4e-13 in float64 (resnet18 in full), and in float32
#: 5e-6 in narrow networks, where no sign flips.
TOLERANCES = {
    "float64": {"gradients": 1e-11, "loss": 1e-11, "weights": 1e-10, "statistics": 1e-10},
    "float32": {"gradients": 5e-5, "loss": 1e-5, "weights": 1e-5, "statistics": 1e-5},
}

#: In float32, how many times its own noise a backend may be off.
NOISE = 10.0
#: In how many other orders the noise is looked for: one sign that flips decides, and one order may flip none.
ORDERS = 3

#: A gradient below this share of the network's largest is structurally zero: a bias that only a norm sees.
ZERO = 1e-12
#: A tensor's error is measured against its largest gradient, or this share of the network's largest.
FLOOR = 1e-3

#: Two steps with everything in them: Nesterov's momentum, coupled weight decay, a learning rate that drops.
RECIPE = Recipe(
    name="compare", learning_rate=0.01, momentum=0.9, nesterov=True, weight_decay=1e-4, schedule="step",
    milestones=(1,), steps=2, batch_size=4, label_smoothing=0.1,
)  # fmt: skip


@dataclass(frozen=True)
class Question:
    """One batch, a gradient of its output and its classes, row by row: in another order it is the same question."""

    images: np.ndarray
    cotangent: np.ndarray
    labels: np.ndarray

    def rolled(self, shift: int) -> Question:
        """The rows in another order."""
        return Question(*(np.roll(rows, shift, axis=0) for rows in (self.images, self.cotangent, self.labels)))


def question(level: str, spec: ResNetSpec, images: np.ndarray) -> Question:
    """What the backends are asked about these images. Raises RecipeError for a network that cannot be trained."""
    if level == "training":
        check_trainable(spec)
    rng = np.random.default_rng(0)
    cotangent = rng.standard_normal((len(images), *tap_shapes(spec)[output_name(spec)]))
    return Question(images, cotangent, rng.integers(0, spec.classes or 1, len(images)))


def measure(
    engine: Worker, level: str, spec: ResNetSpec, weights: Weights, asked: Question, *, dtype: str, time_limit: float
) -> Weights:
    """What one backend finds: `gradients.NAME`, and at level "training" what `train_steps` answers.

    The weights are in `dtype`.
    """
    text = to_json(spec)
    engine.call("build", weights, spec=text, taps=[], dtype=dtype, time_limit=time_limit)
    given = {"images": asked.images, "cotangent": asked.cotangent}
    _, found = engine.call("gradients", given, time_limit=time_limit)
    result = {f"gradients.{name}": array for name, array in found.items()}
    if level == "training":
        arrays = TrainingState(weights).to_arrays()
        arrays |= {"images": np.stack([asked.images] * 2), "labels": np.stack([asked.labels] * 2)}
        recipe = recipe_to_json(RECIPE)
        _, found = engine.call("train_steps", arrays, spec=text, recipe=recipe, dtype=dtype, time_limit=time_limit)
        result |= found
    return result


def gradient_errors(found: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray]) -> dict[str, float]:
    """{parameter: error} against the reference's gradients.

    Norm-wise, with a floor: a tensor whose gradients are small beside the network's carries its rounding. A
    structurally zero one is measured so that in float64 it must be as small here.
    """
    largest = max(float(np.abs(array).max()) for array in reference.values())
    zeros, zero_scale = structurally_zero(reference), largest * ZERO / TOLERANCES["float64"]["gradients"]
    result = {}
    for name, true in reference.items():
        value, scale = np.asarray(found[name], np.float64), max(float(np.abs(true).max()), FLOOR * largest)
        if value.shape != true.shape or not np.isfinite(value).all():
            result[name] = float("inf")
        else:
            result[name] = float(np.abs(value - true).max()) / (zero_scale if name in zeros else scale)
    return result


def structurally_zero(gradients: Mapping[str, np.ndarray]) -> set[str]:
    """Parameters whose gradient vanishes: biases that only a norm sees. Steps of Adam would be made of noise."""
    size = {name: float(np.abs(array).max()) for name, array in gradients.items()}
    return {name for name, value in size.items() if value < ZERO * max(size.values())}


def errors(found: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray], spec: ResNetSpec) -> dict[str, float]:
    """{gradients, loss, weights, statistics: error}, as far as the reference has them."""
    own, true = ({name: side[f"gradients.{name}"] for name in parameters(spec)} for side in (found, reference))
    result = {"gradients": max(gradient_errors(own, true).values())}
    if "loss" in reference:
        result["loss"] = relative_error(found["loss"], reference["loss"])
        trained = true.keys() - structurally_zero(true)
        after, wanted = (TrainingState.from_arrays(side).weights for side in (found, reference))
        for key, names in (("weights", trained), ("statistics", state(spec).keys() - true.keys())):
            result[key] = max((relative_error(after[name], wanted[name]) for name in names), default=0.0)
    return result


def tolerances(
    engine: Worker,
    level: str,
    spec: ResNetSpec,
    weights: Weights,
    asked: Question,
    found: Weights,
    *,
    rounded: str,
    dtype: str,
    time_limit: float,
) -> dict[str, float]:
    """{key: largest error that counts as equal}: exact in float64, in float32 at least the backend's own noise.

    `rounded` is the dtype that the backend really computes in.
    """
    limits = {key: limit for key, limit in TOLERANCES[rounded].items() if level == "training" or key == "gradients"}
    if rounded == "float32":
        for shift in range(1, ORDERS + 1):
            again = measure(engine, level, spec, weights, asked.rolled(shift), dtype=dtype, time_limit=time_limit)
            noise = errors(again, found, spec)
            limits = {key: max(limit, NOISE * noise[key]) for key, limit in limits.items()}
    return limits
