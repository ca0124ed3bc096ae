"""Networks of other libraries as their users build and call them, for `speed.py`: each with our weights.

A function gets the spec, its weights, the images and the labels, and returns a call without arguments. What it imports
is in `NEEDS`; a Python of its own may have it (`--python`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import usage

import resnet_core as rn
from resnet_core.conversion.convert import convert
from resnet_core.errors import ResNetError

Run = Callable[[], Any]
Weights = dict[str, np.ndarray]

#: {contestant: the modules that it imports}.
NEEDS = {
    "torchvision": ("torchvision", "torch"),
    "torchvision, compiled and frozen": ("torchvision", "torch"),
    "timm": ("timm", "torch"),
    "timm, compiled and frozen": ("timm", "torch"),
    "transformers": ("transformers", "torch"),
    "KerasHub": ("keras_hub", "tensorflow"),
    "jaxnn": ("jaxnn", "flax"),
    "OpenVINO": ("openvino", "onnx"),
    "OpenVINO, bfloat16": ("openvino", "onnx"),
}


#: {kind of layer: {our name of a tensor: Keras'}}.
HUB = {
    "kernel": {"weight": "kernel", "bias": "bias"},
    "norm": {
        "weight": "gamma",
        "bias": "beta",
        "running_mean": "moving_mean",
        "running_var": "moving_variance",
    },
}


def versions(contestant: str) -> dict[str, str]:
    """Of the library itself, where the contestant is one of these."""
    return {name: metadata.version(name.replace("_", "-")) for name in NEEDS.get(contestant, ())[:1]}


def torchvision(spec: rn.ResNetSpec, weights: Weights, images: np.ndarray, *, compiled: bool = False) -> Run:
    import torch
    from torchvision import models

    model = getattr(models, spec.name or "")(weights=None)
    with tempfile.TemporaryDirectory() as folder:
        model.load_state_dict(torch.load(_converted(spec, weights, Path(folder) / "w.pth", "torchvision")))
    return _torch(model, images, compiled)


def timm(spec: rn.ResNetSpec, weights: Weights, images: np.ndarray, *, compiled: bool = False) -> Run:
    from timm import create_model

    with tempfile.TemporaryDirectory() as folder:
        path = _converted(spec, weights, Path(folder) / "w.safetensors", "timm")
        model = create_model(spec.name or "", checkpoint_path=str(path))
    return _torch(model, images, compiled)


def transformers(spec: rn.ResNetSpec, weights: Weights, images: np.ndarray) -> Run:
    from transformers import AutoModelForImageClassification

    with tempfile.TemporaryDirectory() as folder:
        path = _converted(spec, weights, Path(folder) / "network", "hf")
        model = AutoModelForImageClassification.from_pretrained(path)

    class Logits(type(model)):  # type: ignore[misc]
        def forward(self, *given: Any, **named: Any) -> Any:
            return super().forward(*given, **named).logits

    model.__class__ = Logits
    return _torch(model, images, False)


def keras_hub(spec: rn.ResNetSpec, weights: Weights, images: np.ndarray) -> Run:
    """Its backbone and head, by the names that its own converter of timm's weights uses."""
    import keras
    import keras_hub as hub

    backbone = hub.models.ResNetBackbone(
        input_conv_filters=[weights["stem.conv.weight"].shape[0]],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128, 256, 512],
        stackwise_num_blocks=list(spec.depths),
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="bottleneck_block",
        image_shape=images.shape[1:],
    )
    model = hub.models.ResNetImageClassifier(backbone, num_classes=spec.classes, activation=None)
    for name, array in weights.items():
        *_, layer, tensor = name.split(".")
        found = model.output_dense if layer == "linear" else backbone.get_layer(_hub_name(name))
        kind = HUB["norm" if "norm" in layer else "kernel"][tensor]
        getattr(found, kind).assign(array.transpose({4: (2, 3, 1, 0), 2: (1, 0)}.get(array.ndim)))
    network = keras.Model(model.backbone.input, model(model.backbone.input))
    return usage.load("keras").forward(network, images)  # type: ignore[no-any-return]


def jaxnn(spec: rn.ResNetSpec, weights: Weights, images: np.ndarray) -> Run:
    """timm's networks in NNX, by its names."""
    import jax.numpy as jnp
    from flax import nnx
    from jaxnn import create_model

    model = create_model(spec.name or "")
    model.eval()
    state = dict(nnx.state(model, (nnx.Param, nnx.BatchStat)).flat_state())
    for name, array in weights.items():
        path = _jaxnn_layer(name)
        tensor = name.rpartition(".")[2]
        kind = {"weight": "kernel" if array.ndim > 1 else "scale", "running_mean": "mean", "running_var": "var"}
        moved = array.transpose({4: (2, 3, 1, 0), 2: (1, 0)}.get(array.ndim))
        state.pop((*path, kind.get(tensor, tensor)))[...] = jnp.asarray(moved)
    if state:
        raise ResNetError(f"jaxnn: not given: {', '.join('.'.join(map(str, path)) for path in state)}")
    return usage.load("flax").forward(model, images)  # type: ignore[no-any-return]


def openvino(spec: rn.ResNetSpec, weights: Weights, images: np.ndarray, *, precision: str = "f32") -> Run:
    """Our ONNX graph, of fixed size, for throughput."""
    import openvino as ov

    with tempfile.TemporaryDirectory() as folder:
        core = ov.Core()
        model = core.read_model(_converted(spec, weights, Path(folder) / "network.onnx", None))
        batch = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        model.reshape(batch.shape)
        compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": precision})
    return lambda: np.array(compiled(batch)[0])


def _torch(model: Any, images: np.ndarray, compiled: bool) -> Run:
    model.eval()
    if compiled:
        usage.load("torch").compile_for_inference(model)
    return usage.load("torch").forward(model, images)  # type: ignore[no-any-return]


def _converted(spec: rn.ResNetSpec, weights: Weights, path: Path, form: str | None) -> Path:
    source = path.with_name("neutral.safetensors")
    rn.save_weights(source, weights, spec)
    convert(source, path, destination_format=form)
    return path


def _hub_name(name: str) -> str:
    """KerasHub's name of the convolution or norm that has this tensor."""
    *parts, layer, _ = name.split(".")
    kind = "bn" if layer.startswith("norm") else "conv"
    if parts[0] == "stem":
        return f"conv1_{kind}"
    stage, block = (int(part.removeprefix("stage").removeprefix("block")) - 1 for part in parts[:2])
    return f"stack{stage}_block{block}_{0 if parts[2:] else layer[-1]}_{kind}"


def _jaxnn_layer(name: str) -> tuple[str | int, ...]:
    """Where jaxnn has the layer of a tensor."""
    *parts, layer, _ = name.split(".")
    layer = layer.replace("norm", "bn")
    if parts[0] in ("stem", "head"):
        return ("fc", "fc") if parts[0] == "head" else (f"{layer}1",)
    stage, block = (int(part.removeprefix("stage").removeprefix("block")) - 1 for part in parts[:2])
    return ("stage_modules", stage, "layers", block, *(["downsample"] if parts[2:] else []), layer)


CONTESTANTS: dict[str, Callable[..., Run]] = {
    "torchvision": torchvision,
    "torchvision, compiled and frozen": lambda *given: torchvision(*given, compiled=True),
    "timm": timm,
    "timm, compiled and frozen": lambda *given: timm(*given, compiled=True),
    "transformers": transformers,
    "KerasHub": keras_hub,
    "jaxnn": jaxnn,
    "OpenVINO": openvino,
    "OpenVINO, bfloat16": lambda *given: openvino(*given, precision="bf16"),
}
