"""Gradients in training mode: of every parameter, through every kind of layer, at ties and at kinks."""

from __future__ import annotations

import numpy as np

from resnet_core.conformance.check import Context, check, expect, expect_array, expect_names, expect_same
from resnet_core.conformance.leaves import LEAVES
from resnet_core.conformance.networks import NETWORKS
from resnet_core.conformance.subjects import Subject, differentiated, reference
from resnet_core.numerics import gradient_errors
from resnet_core.padding import symmetric
from resnet_core.tree import Activation, Chain, Conv, GlobalMaxPool, MaxPool, Node, ReLU
from resnet_core.weights import Weights

GROUP = "gradients"
SUBJECTS = {**LEAVES, **NETWORKS}


def expect_gradients(context: Context, found: Weights, truth: Weights) -> None:
    """They are the reference's, tensor by tensor."""
    for name, value in truth.items():
        dtype = getattr(found[name], "dtype", value.dtype).name
        expect_array(f"gradient of {name}", found[name], dtype, value.shape)
    tolerance = context.tolerance("gradients")
    for name, error in gradient_errors(found, truth).items():
        message = f"gradient of {name}: differs from the reference by {error:.2g}; allowed is {tolerance:g}"
        expect(error <= tolerance, message)


@check(GROUP, cases=SUBJECTS, needs="gradients")
def gradients_equal_the_reference(context: Context, case: str) -> None:
    """Of sum(output * cotangent) in training mode, of every parameter."""
    subject, backend = SUBJECTS[case], context.backend
    model = subject.build(backend, context.dtype)
    found = backend.gradients(model, subject.images(), subject.cotangent())
    expect_names("gradients", dict(sorted(found.items())), sorted(subject.parameters()))
    expect_gradients(context, found, differentiated(subject))
    expect_same("the weights after gradients", backend.get_weights(model), subject.weights(context.dtype))


def _flat(node: Node) -> Subject:
    return Subject(Chain((("before", Conv(2, 1, (1, 1))), ("node", node))), 2, ((7, 6),))


#: Layers whose derivative at a tie, or at a kink, is a rule and no limit.
KINKS = {
    "max-pool": _flat(MaxPool((2, 2), (2, 2))),
    "max-pool, overlapping": _flat(MaxPool((3, 3), (2, 2), symmetric(3))),
    "max-pool, same": _flat(MaxPool((3, 3), (2, 2), "same")),
    "global max-pool": _flat(GlobalMaxPool()),
    "relu": _flat(ReLU()),
    "relu6": _flat(Activation("relu6")),
    "leaky relu": _flat(Activation("leaky_relu")),
    "hardswish": _flat(Activation("hardswish")),
}

#: The two values that the layers above see, if not 0 and 1.
VALUES = {"relu6": (0, 6), "hardswish": (-3, 3)}


@check(GROUP, cases=KINKS, needs="gradients")
def a_tie_goes_to_the_first_and_relu_has_no_slope_at_zero(context: Context, case: str) -> None:
    """Sums of two small whole numbers tie everywhere, and their parts tell which of the pixels was taken."""
    low, high = VALUES.get(case, (0, 1))
    subject, backend = KINKS[case], context.backend
    first = np.random.default_rng(3).integers(-2, 3, (2, 7, 6)).astype(np.float32)
    total = np.random.default_rng(4).choice([low, high], (2, 7, 6)).astype(np.float32)
    images = np.stack([first, total - first], axis=-1)  # a convolution of ones sees nothing but the two values
    weights = {name: np.ones_like(value) for name, value in subject.weights(context.dtype).items()}
    cotangent = reference().predict(subject.build(reference(), "float64", _double(weights)), images) + 1.5
    cotangent *= np.random.default_rng(5).uniform(0.5, 1.5, cotangent.shape)
    truth = reference().gradients(subject.build(reference(), "float64", _double(weights)), images, cotangent)
    found = backend.gradients(subject.build(backend, context.dtype, weights), images, cotangent)
    expect_gradients(context, found, truth)


def _double(weights: Weights) -> Weights:
    return {name: value.astype(np.float64) for name, value in weights.items()}
