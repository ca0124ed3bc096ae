"""Inference: from images to arrays."""

from __future__ import annotations

import numpy as np

from resnet_core.inputs import check_images, empty_output
from resnet_onnx.model import INPUT, ResNet


def predict(model: ResNet, images: np.ndarray) -> np.ndarray | dict[str, np.ndarray]:
    """ONNX computes channels first; inputs and outputs here are channels last."""
    native = to_native(model, images)
    if not len(native):
        return empty_output(model.tree, model.taps, np.asarray(images), model.dtype)
    return to_arrays(model, model.session.run(None, {INPUT: native}))


def modes(model: ResNet) -> dict[str, bool]:
    """A graph has no modes."""
    return {}


def to_native(model: ResNet, images: np.ndarray) -> np.ndarray:
    """(batch, height, width, channels), checked, to (batch, channels, height, width) in the model's dtype."""
    checked = check_images(images, model.channels, model.tree)
    return np.ascontiguousarray(checked.transpose(0, 3, 1, 2), model.dtype)


def to_arrays(model: ResNet, output: list[np.ndarray]) -> np.ndarray | dict[str, np.ndarray]:
    """Outputs, channels last."""
    arrays = [np.ascontiguousarray(np.moveaxis(each, 1, -1)) for each in output]
    return dict(zip(model.taps, arrays, strict=True)) if model.taps else arrays[0]
