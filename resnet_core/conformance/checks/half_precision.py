"""bfloat16 and float16, for inference: what goes in and comes out, what is computed, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np

from resnet_core.conformance.check import HALF_PRECISION, TRAINING, Context, check, expect, expect_refusal, expect_same
from resnet_core.conformance.checks.inference import expect_output
from resnet_core.conformance.checks.trainer import RECIPES
from resnet_core.conformance.leaves import LEAVES
from resnet_core.conformance.networks import NETWORKS, SMALL, TRAINED
from resnet_core.conformance.subjects import Subject, predicted
from resnet_core.errors import WeightsError
from resnet_core.numerics import relative_error
from resnet_core.tolerances import TOLERANCES
from resnet_core.training.contract import TrainingState
from resnet_core.weights import HALF, Weights, rounded

GROUP = "half precision"
QUANTITIES: dict[str, tuple[str, dict[str, Subject]]] = {
    **dict.fromkeys(LEAVES, ("half layer", LEAVES)),
    **dict.fromkeys(NETWORKS, ("half output", NETWORKS)),
}
#: What the process is configured for; models say their own dtype.
CONFIGURED = ("float32",)


@check(GROUP, cases=QUANTITIES, dtypes=CONFIGURED, needs=HALF_PRECISION)
def half_precision_equals_the_reference_as_far_as_it_goes(context: Context, case: str) -> None:
    """In each dtype that is declared: float32 arrays, whose values half precision has, near those of float64."""
    quantity, subjects = QUANTITIES[case]
    subject, backend = subjects[case], context.backend
    for dtype in declared(backend):
        model = subject.build(backend, dtype, subject.weights("float32"))
        found, truth = backend.predict(model, subject.images()), predicted(subject, subject.sizes[0])
        expect_output(f"output in {dtype}", found, "float32", truth.shape)
        expect(np.array_equal(found, rounded(found, dtype)), f"output in {dtype}: has values that {dtype} has not")
        error, limit = relative_error(found, truth), TOLERANCES[quantity][dtype]
        expect(error <= limit, f"{dtype}: differs from the reference by {error:.2g}; allowed is {limit:g}")


@check(GROUP, dtypes=CONFIGURED, needs=HALF_PRECISION)
def half_precision_takes_and_gives_float32_weights(context: Context) -> None:
    """Rounded on their way in, to nearest; also those that early taps do not need."""
    subject, backend = NETWORKS[SMALL], context.backend
    given, other = subject.weights("float32"), subject.weights("float32", seed=1)
    for dtype in declared(backend):
        for taps in ((), ("stem",)):
            model = subject.build(backend, dtype, given, taps)
            expect_same(f"get_weights in {dtype}", backend.get_weights(model), _rounded(given, dtype))
            backend.set_weights(model, other)
            expect_same(f"after set_weights in {dtype}", backend.get_weights(model), _rounded(other, dtype))
        found = backend.predict(model, subject.images(batch=0))["stem"]
        expect_output(f"an empty batch in {dtype}", found, "float32", found.shape)


@check(GROUP, dtypes=CONFIGURED, needs=HALF_PRECISION)
def a_weight_too_large_for_half_precision_is_refused(context: Context) -> None:
    """WeightsError, one line: float16 ends at 65504; bfloat16 takes it. Nothing changes."""
    subject, backend = NETWORKS[SMALL], context.backend
    given = subject.weights("float32")
    name = next(name for name in given if name.endswith("weight"))
    large = {**given, name: np.full_like(given[name], 7e4)}
    for dtype in declared(backend):
        model = subject.build(backend, dtype, given)
        if dtype == "float16":
            expect_refusal("7e4 in float16", lambda: backend.set_weights(model, large), WeightsError)  # noqa: B023
            expect_same("the model afterwards", backend.get_weights(model), _rounded(given, dtype))
        else:
            backend.set_weights(model, large)
            expect_same("after set_weights", backend.get_weights(model), _rounded(large, dtype))


@check(GROUP, dtypes=CONFIGURED, needs=f"{HALF_PRECISION} {' '.join(TRAINING)}")
def half_precision_is_not_trained(context: Context) -> None:
    """InputError, one line, from `train_forward`, `gradients` and `Trainer`."""
    subject, backend = TRAINED, context.backend
    given = subject.weights("float32")
    for dtype in declared(backend):
        model = subject.build(backend, dtype, given)
        actions: dict[str, Any] = {
            "train_forward": lambda: backend.train_forward(model, subject.images()),  # noqa: B023
            "gradients": lambda: backend.gradients(model, subject.images(), subject.cotangent()),  # noqa: B023
            "Trainer": lambda: backend.Trainer(subject.spec, RECIPES["plain"], TrainingState(given), dtype=dtype),  # noqa: B023
        }
        for verb, action in actions.items():
            expect_refusal(f"{verb} in {dtype}", action)
        expect_same(f"the model in {dtype} afterwards", backend.get_weights(model), _rounded(given, dtype))


def declared(backend: Any) -> tuple[str, ...]:
    """The dtypes that the package declares; no others have a limit."""
    dtypes = tuple(backend.HALF_DTYPES)
    expect(set(dtypes) <= set(HALF), f"HALF_DTYPES: received {dtypes}; expected names out of {HALF}")
    return dtypes


def _rounded(weights: Weights, dtype: str) -> Weights:
    return {name: rounded(array, dtype) for name, array in weights.items()}
