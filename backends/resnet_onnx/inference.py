"""Inference: from images to arrays."""

from __future__ import annotations

import numpy as np

from resnet_core.inputs import check_images, empty_output
from resnet_onnx.model import INPUT, ResNet


def predict(model: ResNet, images: np.ndarray) -> np.ndarray | dict[str, np.ndarray]:
    """ONNX computes channels first; inputs and outputs here are channels last."""
    checked = check_images(images, model.channels, model.tree)
    if not len(checked):
        return empty_output(model.tree, model.taps, checked, model.dtype)
    native = np.ascontiguousarray(checked.transpose(0, 3, 1, 2), model.dtype)
    outputs = [np.ascontiguousarray(np.moveaxis(each, 1, -1)) for each in model.session.run(None, {INPUT: native})]
    return dict(zip(model.taps, outputs, strict=True)) if model.taps else outputs[0]


def modes(model: ResNet) -> dict[str, bool]:
    """A graph has no modes."""
    return {}
