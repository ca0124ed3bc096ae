"""A training step as it is timed, and whether one whose convolutions are below float32 is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from resnet_core.backend import optional
from resnet_core.benchmark.precision import FLOAT32, Precision
from resnet_core.benchmark.proof import draw_images
from resnet_core.comparison.narrow import narrowed
from resnet_core.initialization import probe_weights
from resnet_core.numerics import relative_distance
from resnet_core.specification import ResNetSpec
from resnet_core.training.contract import StepInputs, TrainingState
from resnet_core.training.random_factors import require_random_layers, step_inputs
from resnet_core.training.recipe_files import recipe
from resnet_core.training.schedule import step_numbers
from resnet_core.training.targets import target_distribution
from resnet_core.weights import Weights

#: Plain SGD, with a rate at which one step moves the loss by far more than rounding does.
PLAN = {"learning_rate": 0.01, "momentum": 0.9}

#: Pictures of the step that is asked what it computed in.
ASKED = 4


class Steps:
    """A backend's Trainer, and what its steps are given."""

    def __init__(self, backend: Any, spec: ResNetSpec, weights: Weights, precision: Precision) -> None:
        make = optional(backend, "Trainer")
        self.spec, self.plan = spec, recipe("d2l", **PLAN, convolution_dtype=precision.convolution_dtype)
        require_random_layers(spec, make.inputs)
        self.trainer = make(spec, self.plan, TrainingState(weights), dtype=precision.dtype)

    def ready(self, images: np.ndarray) -> Callable[[], float]:
        """A step with these pictures, which returns its loss."""
        inputs = self._inputs(images)
        return lambda: float(self.trainer.step(inputs).loss)

    def _inputs(self, images: np.ndarray) -> StepInputs:
        classes = self.spec.classes or 0
        targets = target_distribution(np.arange(len(images)) % classes, classes, self.plan.label_smoothing)
        return step_inputs(self.spec, self.plan.seed, 0, images, targets, step_numbers(self.plan, 1, 0))


def distance_from_float32(backend: Any, spec: ResNetSpec, precision: Precision) -> float:
    """By how much a step in this precision moves the weights otherwise than the same backend's in float32.

    As a part of that movement, in a narrow network of the same kind, where rounding hardly turns a ReLU's sign.
    """
    spec = narrowed(spec)
    weights, images = probe_weights(spec), draw_images(spec, spec.input_size, ASKED)
    found, own = (_movement(backend, spec, weights, images, each) for each in (precision, FLOAT32))
    return relative_distance(found, own)


def _movement(backend: Any, spec: ResNetSpec, weights: Weights, images: np.ndarray, precision: Precision) -> np.ndarray:
    steps = Steps(backend, spec, weights, precision)
    steps.ready(images)()
    after = steps.trainer.state().weights
    return np.concatenate([(after[name].astype(np.float64) - array).ravel() for name, array in weights.items()])
