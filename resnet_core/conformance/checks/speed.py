"""The same network for inference alone, and on its device, for a package that offers it."""

from __future__ import annotations

import numpy as np

from resnet_core.conformance.check import Context, check, expect, expect_close, expect_same
from resnet_core.conformance.networks import NETWORKS, SMALL, TAPPED
from resnet_core.conformance.subjects import predicted

GROUP = "speed"


@check(GROUP, cases=NETWORKS, dtypes=("float32",), needs="fast")
def what_is_fast_computes_the_same(context: Context, case: str) -> None:
    """At every size, without what takes long to make; the model that was given computes what it did."""
    subject, backend = NETWORKS[case], context.backend
    model = subject.build(backend, context.dtype)
    before = backend.predict(model, subject.images())
    fast = backend.fast(model, compiled=False)
    for size in subject.sizes:
        found = backend.predict(fast, subject.images(size))
        expect_close(f"output at {size[0]}x{size[1]}", found, predicted(subject, size), context.tolerance("output"))
    expect_same("the weights of the model after fast", backend.get_weights(model), subject.weights(context.dtype))
    after = backend.predict(model, subject.images())
    expect(np.array_equal(before, after), "the model that fast was given computes something else than before")


@check(GROUP, cases=TAPPED, dtypes=("float32",), needs="fast")
def what_is_fast_has_the_same_taps(context: Context, case: str) -> None:
    """Also between a convolution and its norm."""
    (subject, taps), backend = TAPPED[case], context.backend
    fast = backend.fast(subject.build(backend, context.dtype, taps=taps), compiled=False)
    found, truth = backend.predict(fast, subject.images()), predicted(subject, subject.sizes[0], taps)
    expect(
        isinstance(found, dict) and set(found) == set(taps), f"received {type(found).__name__}; expected {set(taps)}"
    )
    for tap in taps:
        expect_close(tap, found[tap], truth[tap], context.tolerance("output"))


@check(GROUP, cases=(SMALL, "with norms"), dtypes=("float32",), needs="resident")
def what_is_resident_computes_the_same(context: Context, case: str) -> None:
    """Twice, in evaluation mode, also of taps; afterwards every mode is as before."""
    (subject, taps), backend = TAPPED.get(case, (NETWORKS[SMALL], ())), context.backend
    model, images = subject.build(backend, context.dtype, taps=taps), subject.images()
    truth, modes = predicted(subject, subject.sizes[0], taps), backend.modes(model)
    with backend.resident(model, images) as run:
        for _ in range(2):
            output = run.compute()
            run.wait(output)
            found = run.fetch(output)
            for tap in taps or ("output",):
                given, true = (found[tap], truth[tap]) if taps else (found, truth)
                expect_close(tap, given, true, context.tolerance("output"))
    expect(backend.modes(model) == modes, "the model has another mode afterwards than before")
