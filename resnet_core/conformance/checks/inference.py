"""Evaluation mode: what a model computes, what it refuses, and what it leaves alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from resnet_core.conformance.check import (
    Context,
    check,
    expect,
    expect_array,
    expect_close,
    expect_refusal,
    expect_same,
)
from resnet_core.conformance.leaves import LEAVES
from resnet_core.conformance.networks import NETWORKS, SMALL, TAPPED
from resnet_core.conformance.subjects import predicted, reference

GROUP = "inference"
SUBJECTS = {**LEAVES, **NETWORKS}


def expect_output(what: str, found: Any, dtype: str, shape: tuple[int, ...]) -> None:
    """An array of this shape in the model's dtype, or, as the reference answers, in float64."""
    expect_array(what, found, "float64" if getattr(found, "dtype", None) == np.float64 else dtype, shape)


@check(GROUP, cases=SUBJECTS)
def predict_equals_the_reference(context: Context, case: str) -> None:
    """One model at every size; channels last, in the model's dtype."""
    subject, backend = SUBJECTS[case], context.backend
    model = subject.build(backend, context.dtype)
    for size in subject.sizes:
        found = backend.predict(model, subject.images(size))
        expect_close(f"output at {size[0]}x{size[1]}", found, predicted(subject, size), context.tolerance("output"))
        expect_output("output", found, context.dtype, found.shape)
    expect_same("the weights after predict", backend.get_weights(model), subject.weights(context.dtype))


@check(GROUP, cases=NETWORKS)
def taps_are_those_asked_for(context: Context, case: str) -> None:
    """{tap: array}, channels last, and no others; early ones alone too."""
    subject, backend = NETWORKS[case], context.backend
    last = "features" if subject.spec is not None and subject.spec.classes is None else "logits"
    for taps in (("stage2", "stem", last), ("stage1",)):
        model = subject.build(backend, context.dtype, taps=taps)
        found, truth = backend.predict(model, subject.images()), predicted(subject, subject.sizes[0], taps)
        expect(isinstance(found, dict) and set(found) == set(taps), f"received {_keys(found)}; expected {set(taps)}")
        for tap in taps:
            expect_close(tap, found[tap], truth[tap], context.tolerance("output"))


@check(GROUP, cases=TAPPED)
def any_node_can_be_a_tap(context: Context, case: str) -> None:
    """Its output, as it was before anything that follows worked in place; an empty batch has its shape."""
    (subject, taps), backend = TAPPED[case], context.backend
    model = subject.build(backend, context.dtype, taps=taps)
    for size in subject.sizes:
        found, truth = backend.predict(model, subject.images(size)), predicted(subject, size, taps)
        expect(isinstance(found, dict) and set(found) == set(taps), f"received {_keys(found)}; expected {set(taps)}")
        for tap in taps:
            expect_close(f"{tap} at {size[0]}x{size[1]}", found[tap], truth[tap], context.tolerance("output"))
    empty = backend.predict(model, subject.images(size, batch=0))
    for tap in taps:
        expect_output(f"{tap} of an empty batch", empty[tap], context.dtype, (0, *truth[tap].shape[1:]))
    expect_same("the weights", backend.get_weights(model), subject.weights(context.dtype))


@check(GROUP, dtypes=("float32",))
def an_unknown_tap_is_refused(context: Context) -> None:
    """InputError, from `build`."""
    expect_refusal("a tap 'stage9'", lambda: NETWORKS[SMALL].build(context.backend, "float32", taps=("stage9",)))


@check(GROUP)
def an_empty_batch_is_an_empty_output(context: Context) -> None:
    """(0, …) of the right shape, also for each tap."""
    subject, backend = NETWORKS[SMALL], context.backend
    images = subject.images(batch=0)
    truth = predicted(subject, subject.sizes[0])
    found = backend.predict(subject.build(backend, context.dtype), images)
    expect_output("output", found, context.dtype, (0, *truth.shape[1:]))
    found = backend.predict(subject.build(backend, context.dtype, taps=("stem",)), images)
    truth = predicted(subject, subject.sizes[0], ("stem",))["stem"]
    expect(isinstance(found, dict), f"with a tap: received {_keys(found)}; expected {{tap: array}}")
    expect_output("stem", found["stem"], context.dtype, (0, *truth.shape[1:]))


@check(GROUP)
def images_of_any_kind_of_number_are_taken(context: Context) -> None:
    """float64 and uint8, strided and read-only arrays; they are not changed."""
    subject, backend = NETWORKS[SMALL], context.backend
    model, twin = subject.build(backend, context.dtype), subject.build(reference(), "float64")
    whole = (subject.images() * 60 + 120).clip(0, 255).astype(np.uint8)
    strided = np.repeat(subject.images(), 2, axis=2)[:, :, ::2]
    frozen = subject.images()
    frozen.flags.writeable = False
    kinds: dict[str, np.ndarray] = {
        "float64": subject.images().astype(np.float64),
        "uint8": whole,
        "strided": strided,
        "read-only": frozen,
    }
    for kind, images in kinds.items():
        before = images.copy()
        found = backend.predict(model, images)
        expect_close(f"output of {kind} images", found, reference().predict(twin, before), context.tolerance("output"))
        expect(np.array_equal(images, before), f"{kind} images: were changed")


def unusable_images(images: np.ndarray) -> dict[str, Any]:
    """What is no batch of images, made of one that is."""
    return {
        "one channel less": images[..., 1:],
        "channels first": np.ascontiguousarray(images.transpose(0, 3, 1, 2)),
        "a single image": images[0],
        "texts": np.full(images.shape, "a"),
        "a channel more": np.concatenate([images, images[..., :1]], axis=-1),
    }


@check(GROUP, cases=unusable_images(NETWORKS[SMALL].images()), dtypes=("float32",))
def images_that_are_none_are_refused(context: Context, case: str) -> None:
    """InputError, one line, whatever the framework would have made of them."""
    subject = NETWORKS[SMALL]
    model = subject.build(context.backend, context.dtype)
    wrong = unusable_images(subject.images())[case]
    expect_refusal(f"predict of {case}", lambda: context.backend.predict(model, wrong))


def _keys(found: Any) -> Any:
    return set(found) if isinstance(found, dict) else type(found).__name__
