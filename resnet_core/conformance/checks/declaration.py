"""What a package says about itself, and its process."""

from __future__ import annotations

from dataclasses import fields

from resnet_core.backend import OPTIONAL
from resnet_core.conformance.check import TRAINING, Context, check, expect, expect_close, untouched
from resnet_core.conformance.leaves import without_a_case
from resnet_core.conformance.networks import NETWORKS, SIZES, SMALL
from resnet_core.conformance.subjects import predicted
from resnet_core.errors import InputError
from resnet_core.training.contract import StepInputs

GROUP = "declaration"


@check(GROUP, dtypes=("float32",))
def every_kind_of_layer_has_a_case(context: Context) -> None:
    """The kit is complete: each leaf and combinator of the layer tree stands in `conformance/leaves.py`."""
    lacking = without_a_case()
    expect(not lacking, f"the kit has no case for {', '.join(sorted(lacking))}; it cannot judge a backend")


@check(GROUP, dtypes=("float32",))
def training_is_offered_as_a_whole_or_not_at_all(context: Context) -> None:
    """`train_forward`, `gradients` and `Trainer` come together; the Trainer has the contract's methods."""
    found = [name for name in TRAINING if callable(getattr(context.backend, name, None))]
    expect(len(found) in (0, len(TRAINING)), f"received {', '.join(found)} alone; expected all of {TRAINING} or none")
    if "Trainer" in found:
        trainer = context.backend.Trainer
        for method in ("step", "predict", "state"):
            expect(callable(getattr(trainer, method, None)), f"Trainer lacks {method}")
        known = {field.name for field in fields(StepInputs)}
        used = getattr(trainer, "inputs", None)
        names = isinstance(used, frozenset) and {"images", "targets", "numbers"} <= used <= known
        expect(names, f"Trainer.inputs: received {used!r}; expected a frozenset of names out of {sorted(known)}")


@check(GROUP, dtypes=("float32",))
def what_the_process_says_has_its_types(context: Context) -> None:
    """`versions` is {text: text} and not empty, `exact_float64` a bool, `peak_device_memory` a number from 0."""
    versions = context.backend.versions()
    texts = isinstance(versions, dict) and all(isinstance(text, str) for item in versions.items() for text in item)
    expect(texts and bool(versions), f"versions: received {versions!r}; expected {{package: version}}")
    exact = context.backend.exact_float64()
    expect(isinstance(exact, bool), f"exact_float64: received {exact!r}; expected True or False")
    memory = context.backend.peak_device_memory()
    expect(isinstance(memory, int) and memory >= 0, f"peak_device_memory: received {memory!r}; expected bytes from 0")


@check(GROUP, dtypes=("float32",), fresh=True)
def a_gpu_is_found_or_refused(context: Context) -> None:
    """`configure("gpu")` returns "gpu", or raises InputError; "auto" is what it says it is."""
    try:
        found = context.backend.configure("gpu", context.dtype)
    except InputError:
        expected: tuple[str, ...] = ("cpu",)
    else:
        expect(found == "gpu", f'configure("gpu"): returned {found!r}; expected "gpu" or InputError')
        expected = ("gpu",)
    found = context.backend.configure("auto", context.dtype)
    expect(found in expected, f'configure("auto"): returned {found!r}; expected {expected[0]!r}')


@check(GROUP, dtypes=("float64",), fresh=True)
def float64_is_exact_in_a_process_that_nobody_configured(context: Context) -> None:
    """Whoever says `exact_float64` needs no `configure` first."""
    subject = NETWORKS[SMALL]
    found = context.backend.predict(subject.build(context.backend, "float64"), subject.images(SIZES[0]))
    expect_close("output", found, predicted(subject, SIZES[0]), context.tolerance("output"))


@check(GROUP)
def no_verb_touches_what_is_global(context: Context) -> None:
    """The random state of the framework, of Python and of NumPy, and the modes of a model, stay as they were."""
    backend, subject = context.backend, NETWORKS[SMALL]
    images, weights = subject.images(), subject.weights(context.dtype, seed=1)
    with untouched(backend, "build"):
        model = subject.build(backend, context.dtype)
        backend.build(subject.spec, seed=3, dtype=context.dtype)
    with untouched(backend, "get_weights", model):
        backend.get_weights(model)
    with untouched(backend, "set_weights", model):
        backend.set_weights(model, weights)
    with untouched(backend, "predict", model):
        backend.predict(model, images)
    if all(callable(getattr(backend, verb, None)) for verb in OPTIONAL):
        with untouched(backend, "train_forward", model):
            backend.train_forward(model, images)
        with untouched(backend, "gradients", model):
            backend.gradients(model, images, subject.cotangent())
