"""A network as fast as onnxruntime computes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import onnxruntime

from resnet_core.errors import InputError
from resnet_core.folding import folded
from resnet_core.resident import Resident
from resnet_onnx import runtime
from resnet_onnx.inference import to_arrays, to_native
from resnet_onnx.model import INPUT, ResNet, build_tree
from resnet_onnx.weights import get_weights


def fast(model: ResNet, *, compiled: bool = True) -> ResNet:
    """Norms folded, as onnxruntime does by itself at each start; it compiles nothing."""
    tree, weights = folded(model.tree, get_weights(model), model.taps)
    if tree is model.tree:
        return model
    return build_tree(tree, channels=model.channels, weights=weights, taps=tuple(model.taps), dtype=model.dtype)


@contextmanager
def resident(model: ResNet, images: np.ndarray) -> Iterator[Resident]:
    """By a binding, whose outputs stay on the device, and are waited for there."""
    if model.dtype == "float64":
        raise InputError("resident: received a float64 model, which onnxruntime does not run; expected float32")
    binding, device = model.session.io_binding(), runtime.memory()
    binding.bind_ortvalue_input(INPUT, onnxruntime.OrtValue.ortvalue_from_numpy(to_native(model, images), device))
    for output in model.session.get_outputs():
        binding.bind_output(output.name, device)
    yield Resident(
        lambda: model.session.run_with_iobinding(binding),
        lambda output: binding.synchronize_outputs(),
        lambda output: to_arrays(model, binding.copy_outputs_to_cpu()),
    )
