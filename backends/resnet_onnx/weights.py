"""Neutral weights in and out of an ONNX graph, whose initializers have the same names and layout."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import TensorProto, numpy_helper

from resnet_core.analysis import state
from resnet_core.weights import Weights, check_weights
from resnet_onnx.model import ResNet


def get_weights(model: ResNet) -> Weights:
    """The initializers as NumPy arrays, without the constants."""
    return {name: numpy_helper.to_array(tensor).copy() for name, tensor in _tensors(model).items()}


def set_weights(model: ResNet, weights: Mapping[str, np.ndarray]) -> None:
    """Copies into the graph; its next prediction is that of a new session."""
    checked = check_weights(weights, state(model.tree), model.dtype)
    for name, tensor in _tensors(model).items():
        tensor.CopyFrom(numpy_helper.from_array(checked[name], name))
    vars(model).pop("session", None)


def native_tensors(model: ResNet) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The names of the initializers, which are the neutral ones."""
    return {name: (name, tuple(tensor.dims)) for name, tensor in _tensors(model).items()}


def _tensors(model: ResNet) -> dict[str, TensorProto]:
    found = {tensor.name: tensor for tensor in model.proto.graph.initializer}
    return {name: found[name] for name in state(model.tree)}
