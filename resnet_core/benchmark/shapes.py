"""Whether a precision below float32 is right for every shape: convolution by convolution, against float32's.

Convolutions of bfloat16 on a CPU have been wrong for some shapes (pytorch#163347, #169688), and one among fifty is lost
in what a whole network may differ by. So each is asked alone, at the size and the batch that are timed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from resnet_core.analysis import image_shape, trace
from resnet_core.architecture import layer_tree
from resnet_core.benchmark.precision import FLOAT32, Precision
from resnet_core.initialization import probe_tensors
from resnet_core.numerics import gradient_errors, relative_error
from resnet_core.specification import ResNetSpec
from resnet_core.tree import BatchNorm, Chain, Conv, Shape


def convolutions(spec: ResNetSpec, size: tuple[int, int]) -> list[tuple[Conv, Shape]]:
    """Every convolution of the network, once, with the shape of what goes in at this size of its images."""
    traced, _ = trace(layer_tree(spec), image_shape(spec, size))
    return list(dict.fromkeys((layer.leaf, layer.input_shape) for layer in traced if isinstance(layer.leaf, Conv)))


def shape_error(
    backend: Any, convolution: Conv, shape: Shape, precision: Precision, *, batch: int, fast: bool, training: bool
) -> float:
    """How far one convolution is from the same backend's in float32: its output, or with `training` its gradients.

    With `fast`, in the form in which networks are timed, as far as that is made without compiling. In front of it
    stands a norm, whose gradients are sums of what the convolution hands back.
    """
    tree = Chain((("norm", BatchNorm(shape[-1], 1e-5, 0.9)), ("convolution", convolution)))
    weights, random = probe_tensors(tree), np.random.default_rng(0)
    images = random.standard_normal((batch, *shape), dtype=np.float32)
    models = [each.model(backend, tree, shape[-1], weights) for each in (precision, FLOAT32)]
    if training:
        cotangent = random.standard_normal((batch, *convolution.output_shape(shape)), dtype=np.float32)
        found, own = (backend.gradients(model, images, cotangent) for model in models)
        return max(gradient_errors(found, own).values())
    if fast and callable(getattr(backend, "fast", None)):
        models[0] = backend.fast(models[0], compiled=False)
    found, own = (backend.predict(model, images) for model in models)
    return relative_error(found, own)


def described(convolution: Conv, shape: Shape) -> str:
    """The convolution, in words."""
    (high, wide), (down, right) = convolution.kernel, convolution.stride
    stride = "" if (down, right) == (1, 1) else f", stride {down}" if down == right else f", stride {down}x{right}"
    groups = f", {convolution.groups} groups" if convolution.groups > 1 else ""
    channels = f"{convolution.in_channels} to {convolution.out_channels} channels"
    return f"the {high}x{wide} convolution of {shape[0]} x {shape[1]}, {channels}{stride}{groups}"
