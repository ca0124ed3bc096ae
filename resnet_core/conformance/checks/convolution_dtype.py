"""bfloat16 in the convolutions of a float32 network: what the reference computes, which rounds in the same places.

Where a sum lies next to the middle of two numbers of bfloat16, the order of its terms decides which of them it becomes.
So an error here is the length of a difference, relative to the reference's, in which few such values count little.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import numpy as np

from resnet_core.conformance.check import (
    CONVOLUTIONS,
    Context,
    check,
    expect,
    expect_array,
    expect_names,
    expect_refusal,
    expect_same,
)
from resnet_core.conformance.checks.inference import expect_output
from resnet_core.conformance.checks.trainer import starting, train
from resnet_core.conformance.leaves import LEAVES
from resnet_core.conformance.networks import NETWORKS, SMALL, TRAINED
from resnet_core.conformance.subjects import Subject, differentiated, predicted, reference
from resnet_core.numerics import relative_distance, relative_error, structurally_zero
from resnet_core.precision import convolving_in
from resnet_core.tolerances import TOLERANCES
from resnet_core.training.recipe import Recipe
from resnet_core.weights import Weights

GROUP = "convolution dtype"
DTYPE: Literal["bfloat16"] = "bfloat16"
#: The process and the network; convolutions say their own.
OUTSIDE = ("float32",)


def _rounding(subject: Subject) -> Subject:
    return Subject(convolving_in(subject.tree, DTYPE), subject.channels, subject.sizes)


_KINDS = ("convolution", "residual", "gate")
LAYERS = {name: _rounding(subject) for name, subject in LEAVES.items() if name.startswith(_KINDS)}
WHOLE = {name: _rounding(subject) for name, subject in NETWORKS.items()}
SUBJECTS = {**LAYERS, **WHOLE}

#: The updates of one step are gradients, multiplied by the rate.
RECIPE = Recipe(learning_rate=0.05, convolution_dtype=DTYPE, batch_size=6, steps=8)


@check(GROUP, cases=SUBJECTS, dtypes=OUTSIDE, needs=CONVOLUTIONS)
def convolutions_round_where_the_reference_does(context: Context, case: str) -> None:
    """Input, kernel and result; the bias, norms and all else stay float32, and so do the weights."""
    subject, backend = SUBJECTS[case], context.backend
    model = subject.build(backend, "float32")
    for size in subject.sizes:
        found, truth = backend.predict(model, subject.images(size)), predicted(subject, size)
        expect_output(f"output at {size[0]}x{size[1]}", found, "float32", truth.shape)
        _expect_near(f"output at {size[0]}x{size[1]}", found, truth, "rounded output")
    expect_same("the weights afterwards", backend.get_weights(model), subject.weights("float32"))


@check(
    GROUP,
    cases=[name for name in SUBJECTS if name in WHOLE or name.startswith("convolution")],
    dtypes=OUTSIDE,
    needs=f"{CONVOLUTIONS} gradients",
)
def gradients_round_where_the_reference_does(context: Context, case: str) -> None:
    """What comes in from behind, and what goes out to the kernel and to the layer before."""
    subject, backend = SUBJECTS[case], context.backend
    found = backend.gradients(subject.build(backend, "float32"), subject.images(), subject.cotangent())
    expect_names("gradients", dict(sorted(found.items())), sorted(subject.parameters()))
    _expect_updates(found, differentiated(subject), case)


@check(GROUP, dtypes=OUTSIDE, needs=f"{CONVOLUTIONS} Trainer")
def a_recipe_says_in_what_convolutions_compute(context: Context) -> None:
    """A step is the reference's; weights stay float32."""
    start = starting("momentum", 0, "float32")
    trainer, (found,) = train(context.backend, RECIPE, start, "float32", 1)
    loss, truth = _step()
    error, limit = abs(found.loss - loss) / loss, TOLERANCES["rounded output"][DTYPE]
    expect(error <= limit, f"loss: differs from the reference by {error:.2g}; allowed is {limit:g}")
    left = trainer.state().weights
    for name, value in left.items():
        expect_array(f"after the step: {name}", value, "float32", start.weights[name].shape)
    _expect_updates({name: left[name] - start.weights[name] for name in truth}, truth, SMALL)


@check(GROUP, dtypes=OUTSIDE, needs=f"{CONVOLUTIONS} Trainer")
def float64_is_never_reduced(context: Context) -> None:
    """InputError, one line, from a Trainer of float64 whose recipe would."""
    make, start = context.backend.Trainer, starting("momentum", 0, "float64")
    train = lambda: make(TRAINED.spec, RECIPE, start, dtype="float64")  # noqa: E731
    expect_refusal("a Trainer of float64", train, about="convolution_dtype")


@check(GROUP, cases=WHOLE, dtypes=OUTSIDE, needs=f"{CONVOLUTIONS} fast")
def what_is_fast_rounds_too(context: Context, case: str) -> None:
    """Kernels with norms in them are rounded otherwise: as near the exact output, and not as near as float32 is."""
    backend, exact = context.backend, predicted(NETWORKS[case], NETWORKS[case].sizes[0])
    fast = backend.fast(WHOLE[case].build(backend, "float32"), compiled=False)
    found = backend.predict(fast, WHOLE[case].images())
    expect_output("output", found, "float32", exact.shape)
    error, most = relative_error(found, exact), TOLERANCES["convolutions output"][DTYPE]
    expect(error <= most, f"output: differs from the reference by {error:.2g}; allowed is {most:g}")
    least = context.tolerance("output")
    expect(error > least, f"output: differs from the reference by {error:.2g}, as float32 does; expected {DTYPE}")


def _expect_near(what: str, found: np.ndarray, truth: np.ndarray, quantity: str) -> None:
    error, limit = relative_distance(found, truth), TOLERANCES[quantity][DTYPE]
    expect(error <= limit, f"{what}: differs from the reference by {error:.2g}; allowed is {limit:g}")


def _expect_updates(found: Weights, truth: Weights, case: str) -> None:
    """Gradients or multiples of them; in a network a value that is rounded otherwise may turn a ReLU's sign."""
    zero = structurally_zero(truth)
    for name in truth:
        if name not in zero:
            quantity = "rounded network gradients" if case in WHOLE else "rounded layer gradients"
            _expect_near(f"gradient of {name}", found[name], truth[name], quantity)


@lru_cache(maxsize=1)
def _step() -> tuple[float, dict[str, np.ndarray]]:
    """Loss, and the update of every parameter, of the reference."""
    start: Any = starting("momentum", 0, "float32")
    trainer, (result,) = train(reference(), RECIPE, start, "float32", 1)
    left = trainer.state().weights
    return result.loss, {name: left[name] - start.weights[name] for name in TRAINED.parameters()}
