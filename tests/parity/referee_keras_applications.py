"""keras.applications' ResNets: run live in a Keras worker, and renamed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from referees import draw
from resnet_core.weights import Weights
from resnet_core.workers.child import Arrays

#: The last layer of each stage, and the root's.
TAPS = {
    "stem": "pool1_pool",
    "stage1": "conv2_block3_out",
    "stage2": "conv3_block4_out",
    "stage3": "conv4_block6_out",
    "stage4": "conv5_block3_out",
    "logits": "predictions",
}
BLOCKS = 16

#: Keras' layer to the neutral one. In a pre-activation block norm1 is `preact`, so that the others move up.
POST = {"0_conv": "shortcut.conv", "0_bn": "shortcut.norm"} | {
    f"{number}_{kind}": f"{name}{number}" for number in (1, 2, 3) for kind, name in (("conv", "conv"), ("bn", "norm"))
}
PRE = {
    **{layer: name for layer, name in POST.items() if layer.endswith("_conv")},
    "preact_bn": "norm1",
    "1_bn": "norm2",
    "2_bn": "norm3",
}
ENDS = {"conv1_conv": "stem.conv", "conv1_bn": "stem.norm", "post_bn": "head.norm", "predictions": "head.linear"}
LEAVES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
KINDS = {"moving_mean": "mean", "moving_variance": "variance"}


def record(session: Any, arrays: Arrays, *, model: str, classes: int, seed: int) -> tuple[None, Arrays]:
    """In a worker: draw every weight of the model, run it on `arrays["images"]`, answer `weights/…` and `taps/…`."""
    import keras

    images = arrays["images"]
    network = getattr(keras.applications, model)(
        weights=None, classes=classes, classifier_activation=None, input_shape=images.shape[1:]
    )
    state = {}
    for layer in network.layers:
        for variable in layer.weights:
            name = f"{layer.name}/{variable.name}"
            kind = KINDS.get(variable.name, variable.name)
            # What a block adds to the stream is damped, as in the other referees.
            last = layer.name.endswith("_3_conv" if model.endswith("V2") else "_3_bn")
            damp = BLOCKS**-0.5 if last and kind in ("kernel", "bias", "gamma", "beta") else 1.0
            damp = draw.CLASSIFIER_DAMP if name == "predictions/kernel" else damp
            state[name] = draw.draw(name, tuple(variable.shape), kind, seed, damp, "tensorflow")
            variable.assign(state[name])
    tapped = keras.Model(network.inputs, {tap: network.get_layer(layer).output for tap, layer in TAPS.items()})
    taps = {f"taps/{tap}": np.asarray(value) for tap, value in tapped.predict_on_batch(images).items()}
    return None, {**{f"weights/{name}": value for name, value in state.items()}, **taps}


def from_keras_applications(variables: Mapping[str, np.ndarray]) -> Weights:
    """Neutral weights from {"layer/variable": array} of a keras.applications ResNet50 or ResNet50V2."""
    layers = PRE if "post_bn/gamma" in variables else POST
    return {_name(key, layers): _layout(value) for key, value in variables.items()}


def _name(key: str, layers: Mapping[str, str]) -> str:
    layer, _, variable = key.partition("/")
    block = re.fullmatch(r"conv(\d)_block(\d+)_(.+)", layer)
    path = f"stage{int(block[1]) - 1}.block{block[2]}.{layers[block[3]]}" if block else ENDS[layer]
    return f"{path}.{LEAVES[variable]}"


def _layout(value: np.ndarray) -> np.ndarray:
    axes = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[value.ndim]
    return np.ascontiguousarray(value.transpose(axes))
