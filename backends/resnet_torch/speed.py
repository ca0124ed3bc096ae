"""A network for inference alone, as fast as PyTorch computes it."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch

from resnet_core.folding import folded
from resnet_core.resident import Resident
from resnet_torch.inference import evaluating, ready_to_compile, to_arrays, to_native
from resnet_torch.model import ResNet, build_tree
from resnet_torch.weights import get_weights, model_dtype


def fast(model: ResNet, *, compiled: bool = True) -> ResNet:
    """Norms folded, channels last in memory; compiled by inductor with its weights as constants (`freezing`).

    Only of constants does inductor fuse a convolution with the addition and the ReLU behind it. The first prediction of
    an image size then takes seconds to minutes, and on a CPU a C++ compiler; without one a warning says so and nothing
    is compiled. On a GPU what was compiled is one CUDA graph for each image size: a call overwrites the output of the
    call before.
    """
    tree, weights = folded(model.tree, get_weights(model), model.taps)
    device = next(model.parameters()).device
    quick = build_tree(tree, channels=model.channels, weights=weights, taps=tuple(model.taps), dtype=model_dtype(model))
    quick.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if compiled and device.type == "cpu" and shutil.which(compiler := os.environ.get("CXX", "c++")) is None:
        warnings.warn(f"no C++ compiler {compiler!r} was found, so that nothing is compiled; set CXX", stacklevel=2)
    elif compiled:
        ready_to_compile(quick).compile(options={"freezing": True, "triton.cudagraphs": device.type == "cuda"})
    return quick


@contextmanager
def resident(model: ResNet, images: np.ndarray) -> Iterator[Resident]:
    """A GPU has a clock, to be read with events on the stream on which it computes; a CPU does not run behind."""
    native = to_native(model, images)
    event = partial(torch.cuda.Event, enable_timing=True) if native.is_cuda else None
    with evaluating(model, native):
        yield Resident(lambda: model(native), lambda output: None, to_arrays, event)
