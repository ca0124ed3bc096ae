"""Whether contestants do the same work: asked before they are timed, and again afterwards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from resnet_core.analysis import image_shape
from resnet_core.backend import REFERENCE
from resnet_core.benchmark.precision import FLOAT32, Precision
from resnet_core.comparison.wording import scientific
from resnet_core.numerics import relative_error
from resnet_core.specification import ResNetSpec
from resnet_core.tolerances import TOLERANCES
from resnet_core.weights import HALF, TF32, Weights
from resnet_core.workers.backend_process import BackendProcess

#: Of how much a step changes the loss, the largest part by which two may differ: rounding moves gradients of wide
#: networks by some percent, and a step that learns nothing differs by all of it.
CHANGE = 0.1


@dataclass(frozen=True)
class Verdict:
    """The error of an output, and what is wrong with it, in words, if anything is."""

    error: float | None
    problem: str | None = None
    absent: bool = False
    """Whether the device lacks what was asked for, and did something else."""


class OutputProof:
    """Outputs in evaluation mode, against the NumPy float64 reference at the first and the last picture of a batch."""

    against = f"the {REFERENCE} float64 reference"

    def __init__(self, images: np.ndarray, expected: np.ndarray, precision: Precision = FLOAT32) -> None:
        kinds = {TF32: "tf32 output", **dict.fromkeys(HALF, "half output")}
        kind = "convolutions output" if precision.convolution_dtype else kinds.get(precision.dtype, "output")
        self.tolerance = TOLERANCES[kind][precision.reduced or precision.dtype]
        #: What would not be timed as what it is: with all of float32's digits.
        self.below = "TF32" if precision.dtype == TF32 else precision.reduced
        self.images, self.rows = images, [0, len(images) - 1]
        self.expected = expected[: len(set(self.rows))]

    def judge(self, backend: str, output: np.ndarray) -> Verdict:
        """Of what was computed for `images`."""
        shape = (len(self.images), *self.expected.shape[1:])
        if output.shape != shape:
            return Verdict(float("inf"), f"received outputs of shape {list(output.shape)}; expected {list(shape)}")
        error = relative_error(output[self.rows[: len(self.expected)]], self.expected)
        if self.below and error <= TOLERANCES["output"]["float32"]:
            told = f"the output has float32's digits, {scientific(error)} from {self.against}"
            return Verdict(error, _unused(self.below, told), absent=True)
        return _verdict("the output", error, self.tolerance, self.against)

    def still(self, backend: str, output: np.ndarray) -> Verdict:
        """The same after timing."""
        return self.judge(backend, output)


class StepProof:
    """Losses of two training steps on the same pictures: the second shows what the first has learned.

    They are held against those of the first backend that trains; NumPy would take minutes for a step.
    """

    against = ""

    def __init__(self, images: np.ndarray, precision: Precision = FLOAT32) -> None:
        limits = TOLERANCES["convolutions loss" if precision.reduced else "loss"]
        self.tolerance = limits[precision.reduced or precision.dtype]
        self.images = images
        self.expected: np.ndarray | None = None

    def judge(self, backend: str, losses: np.ndarray) -> Verdict:
        """Of two steps with `images`."""
        if losses.shape != (2,) or not np.isfinite(losses).all():
            return Verdict(float("inf"), f"received losses {losses.tolist()}; expected two finite numbers")
        learned = float(losses[1] - losses[0])
        if learned == 0:
            return Verdict(None, "a training step changes nothing: the loss of the same pictures is the same again")
        if self.expected is None:
            self.expected, self.against = losses, backend
            return Verdict(None)
        verdict = _verdict(
            "the loss", relative_error(losses[:1], self.expected[:1]), self.tolerance, f"that of {self.against}"
        )
        expected = float(self.expected[1] - self.expected[0])
        if verdict.problem is None and not abs(learned - expected) <= CHANGE * abs(expected):
            told = f"a training step changes the loss by {learned:.3g}, one of {self.against} by {expected:.3g}"
            return Verdict(verdict.error, told)
        return verdict

    def still(self, backend: str, loss: np.ndarray) -> Verdict:
        """After timing, where contestants have gone ways of their own: whether it is a number."""
        return Verdict(None) if np.isfinite(loss).all() else Verdict(float("inf"), "the loss became NaN or infinite")


def shape_problem(layer: str, error: float, reduced: str) -> str | None:
    """What is wrong with a single convolution below float32, in words, if anything is."""
    return _verdict(layer, error, TOLERANCES["half layer"][reduced], "this backend's own in float32").problem


def step_used(distance: float, reduced: str) -> Verdict:
    """Of a training step below float32, by how much it moves the weights otherwise than one in float32."""
    if distance > TOLERANCES["gradients"]["float32"]:
        return Verdict(None)
    told = f"a training step has float32's digits, {scientific(distance)} from this backend's own in float32"
    return Verdict(None, _unused(reduced, told), absent=True)


def _unused(precision: str, told: str) -> str:
    return f"{precision} was not used: {told}; choose float32"


def _verdict(what: str, error: float, tolerance: float, against: str) -> Verdict:
    if error <= tolerance:
        return Verdict(error)
    told = f"{what} differs by {scientific(error)} from {against}; allowed is {scientific(tolerance)}"
    return Verdict(error, told)


def draw_images(spec: ResNetSpec, size: tuple[int, int], batch: int) -> np.ndarray:
    """A batch of pictures of noise, of which every one differs."""
    shape = (batch, *image_shape(spec, size))
    return np.random.default_rng(batch).standard_normal(shape, dtype=np.float32)


def reference_output(spec: ResNetSpec, weights: Weights, images: np.ndarray, time_limit: float) -> np.ndarray:
    """The output of the NumPy float64 reference, computed in a process of its own."""
    with BackendProcess(REFERENCE, dtype="float64", time_limit=time_limit) as process:
        process.open()
        process.build(spec, weights)
        return process.predict(images)["output"]
