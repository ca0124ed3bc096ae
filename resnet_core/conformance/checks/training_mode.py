"""Training mode: outputs normalized by the batch, and the running statistics that it leaves."""

from __future__ import annotations

from resnet_core.conformance.check import Context, check, expect, expect_close, expect_names, expect_refusal
from resnet_core.conformance.checks.inference import unusable_images
from resnet_core.conformance.leaves import LEAVES
from resnet_core.conformance.networks import NETWORKS, SMALL
from resnet_core.conformance.subjects import trained_once

GROUP = "training mode"
SUBJECTS = {**LEAVES, **NETWORKS}


@check(GROUP, cases=SUBJECTS, needs="train_forward")
def train_forward_equals_the_reference(context: Context, case: str) -> None:
    """Outputs and running statistics, the variance by the unbiased rule; no weight learns."""
    subject, backend = SUBJECTS[case], context.backend
    output, truth = trained_once(subject)
    model = subject.build(backend, context.dtype)
    expect_close("output", backend.train_forward(model, subject.images()), output, context.tolerance("training output"))
    found, before = backend.get_weights(model), subject.weights(context.dtype)
    expect_names("get_weights", found, before)
    for name, value in before.items():
        if name in subject.parameters():
            expect(bool((found[name] == value).all()), f"{name}: was changed; a training-mode pass does not train")
        else:
            expect_close(name, found[name], truth[name], context.tolerance("running statistics"))


@check(GROUP, needs="train_forward")
def train_forward_returns_taps_and_takes_a_spec(context: Context) -> None:
    """{tap: array} for a model that was built with taps; the spec, by position, changes nothing."""
    subject, backend = NETWORKS[SMALL], context.backend
    model = subject.build(backend, context.dtype, taps=("stem", "logits"))
    found = backend.train_forward(model, subject.images(), subject.spec)
    expect_names("train_forward", dict(sorted(found.items())), ("logits", "stem"))
    expect_close("logits", found["logits"], trained_once(subject)[0], context.tolerance("training output"))


@check(GROUP, dtypes=("float32",), needs="train_forward gradients")
def one_value_per_channel_cannot_be_trained_on(context: Context) -> None:
    """InputError: it has no variance. An empty batch and images that are none, too. Nothing is changed."""
    subject, backend = LEAVES["norm, first"], context.backend
    model = subject.build(backend, context.dtype)
    wrong = {"one value per channel": subject.images((1, 1), batch=1), "an empty batch": subject.images(batch=0)}
    for what, images in {**wrong, **unusable_images(subject.images())}.items():
        expect_refusal(f"train_forward of {what}", lambda given=images: backend.train_forward(model, given))  # type: ignore[misc]
        if images.dtype.kind == "f":
            expect_refusal(
                f"gradients of {what}",
                lambda given=images: backend.gradients(model, given, given),  # type: ignore[misc]
            )
    after = backend.get_weights(model)
    for name, value in subject.weights(context.dtype).items():
        expect(bool((after[name] == value).all()), f"{name}: was changed by what was refused")
