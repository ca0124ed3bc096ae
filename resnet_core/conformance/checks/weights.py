"""Weights in and out: what went in comes out, and what does not fit changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from resnet_core.analysis import state
from resnet_core.conformance.check import (
    Context,
    check,
    expect,
    expect_close,
    expect_names,
    expect_refusal,
    expect_same,
)
from resnet_core.conformance.leaves import LEAVES
from resnet_core.conformance.networks import NETWORKS, SMALL
from resnet_core.conformance.subjects import aligned, reference
from resnet_core.errors import InputError, WeightsError
from resnet_core.initialization import initialize
from resnet_core.weights import HALF, Weights, cast

GROUP = "weights"
SUBJECTS = {**LEAVES, **NETWORKS}


@check(GROUP, cases=SUBJECTS)
def get_weights_returns_what_the_model_was_built_with(context: Context, case: str) -> None:
    """Every tensor, in the tree's order, in the model's dtype, the same bits."""
    subject = SUBJECTS[case]
    model = subject.build(context.backend, context.dtype)
    expect_same("get_weights", context.backend.get_weights(model), subject.weights(context.dtype))


@check(GROUP, cases=NETWORKS)
def set_weights_replaces_all_weights(context: Context, case: str) -> None:
    """They come out again, and are what the model then computes with; a mapping in another order will do."""
    subject, backend = NETWORKS[case], context.backend
    model, other = subject.build(backend, context.dtype), subject.weights(context.dtype, seed=1)
    backend.set_weights(model, dict(reversed(other.items())))
    expect_same("get_weights after set_weights", backend.get_weights(model), other)
    images, own = subject.images(), subject.build(reference(), "float64", cast(other, "float64"))
    truth = reference().predict(own, images)
    expect_close("predict after set_weights", backend.predict(model, images), truth, context.tolerance("output"))


@check(GROUP)
def weights_are_copied_on_their_way_in_and_out(context: Context) -> None:
    """To write into an array that was given or received does not reach the model."""
    subject, backend = NETWORKS[SMALL], context.backend
    given, truth = aligned(subject.weights(context.dtype)), subject.weights(context.dtype)
    model = subject.build(backend, context.dtype, given)
    _overwrite(given)
    expect_same("after writing into what build was given", backend.get_weights(model), truth)
    given, truth = aligned(subject.weights(context.dtype, seed=1)), subject.weights(context.dtype, seed=1)
    backend.set_weights(model, given)
    _overwrite(given)
    expect_same("after writing into what set_weights was given", backend.get_weights(model), truth)
    received = backend.get_weights(model)
    expect(all(array.flags.writeable for array in received.values()), "get_weights: an array cannot be written")
    _overwrite(received)
    expect_same("after writing into what get_weights returned", backend.get_weights(model), truth)


def _wrong(weights: Weights, dtype: str) -> dict[str, Weights]:
    """What is wrong to weights that are not the network's."""
    last = list(weights)[-1]
    variance = next(name for name in reversed(weights) if name.endswith("running_var"))
    other = "float32" if dtype == "float64" else "float64"
    return {
        "a missing tensor": {name: array for name, array in weights.items() if name != last},
        "an unknown tensor": {**weights, "head.extra": weights[last]},
        "a wrong shape": {**weights, last: np.zeros((*weights[last].shape, 1), dtype)},
        "another dtype": {name: array.astype(other) for name, array in weights.items()},
        "one tensor of another dtype": {**weights, last: weights[last].astype(other)},
        "a NaN": {**weights, last: np.full_like(weights[last], np.nan)},
        "a negative variance": {**weights, variance: -weights[variance]},
    }


@check(GROUP, cases=_wrong(NETWORKS[SMALL].weights("float32"), "float32"))
def weights_that_do_not_fit_are_refused_and_change_nothing(context: Context, case: str) -> None:
    """WeightsError, one line, from `set_weights`, `build` and `build_tree`; the model keeps all that it had."""
    subject, backend = NETWORKS[SMALL], context.backend
    model, truth = subject.build(backend, context.dtype), subject.weights(context.dtype)
    wrong = _wrong(subject.weights(context.dtype, seed=1), context.dtype)[case]
    actions: dict[str, Callable[[], object]] = {
        "set_weights": lambda: backend.set_weights(model, wrong),
        "build": lambda: backend.build(subject.spec, weights=wrong, dtype=context.dtype),
        "build_tree": lambda: backend.build_tree(
            subject.tree, channels=subject.channels, weights=wrong, dtype=context.dtype
        ),
    }
    for verb, action in actions.items():
        expect_refusal(f"{verb} with {case}", action, WeightsError)
    expect_same(f"the model after {case} was refused", backend.get_weights(model), truth)


@check(GROUP, cases=NETWORKS)
def a_seed_is_the_specs_initial_weights(context: Context, case: str) -> None:
    """`build(spec, seed=s)` holds `initialize(spec, s)`, bit for bit; without a seed, it is seed 0."""
    spec, backend = NETWORKS[case].spec, context.backend
    assert spec is not None
    for seed in (0, 11):
        model = backend.build(spec, **({"seed": seed} if seed else {}), dtype=context.dtype)
        expect_same(f"build with seed {seed}", backend.get_weights(model), initialize(spec, seed, context.dtype))


@check(GROUP, dtypes=("float32",))
def no_dtype_is_float32_and_another_is_refused(context: Context) -> None:
    """`dtype=None` is float32; a dtype that the package does not declare raises InputError."""
    subject, backend = NETWORKS[SMALL], context.backend
    expect_same("build", backend.get_weights(backend.build(subject.spec)), initialize(subject.spec, 0))  # type: ignore[arg-type]
    for other in {*HALF, "float8"} - set(getattr(backend, "HALF_DTYPES", ())):
        expect_refusal(f"build with {other}", partial(backend.build, subject.spec, dtype=other), InputError)


@check(GROUP)
def a_model_with_early_taps_has_all_weights(context: Context) -> None:
    """Also those that its outputs do not need."""
    subject, backend = NETWORKS[SMALL], context.backend
    model = subject.build(backend, context.dtype, taps=("stem",))
    expect_same("get_weights", backend.get_weights(model), subject.weights(context.dtype))
    other = subject.weights(context.dtype, seed=1)
    backend.set_weights(model, other)
    expect_same("get_weights after set_weights", backend.get_weights(model), other)
    expect_names("get_weights", backend.get_weights(model), state(subject.tree))


def _overwrite(weights: Weights) -> None:
    for array in weights.values():
        array[...] = 0
