"""Record how PyTorch's two exporters write timm's networks as ONNX graphs, as fixtures for the tests.

Run in an environment with torch, timm, onnx, onnxscript and onnxruntime (README.md names the versions):

    python tests/referees/record_onnx.py [FOLDER]
"""

import argparse
import json
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
import torch
from timm.layers import GroupNorm, GroupNormAct, LayerNorm2d, StdConv2d, create_conv2d, get_act_layer
from timm.models import create_model
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from timm.models.resnetv2 import ResNetV2

SIZE = 64
_NARROW: dict[str, Any] = {"layers": (1, 1, 1, 1), "channels": (4, 4, 6, 8), "num_classes": 5}
_DEEP = {**_NARROW, "stem_type": "deep", "stem_width": 4}

#: PyTorch's exporters: by tracing, at the operators of version 17, and the default one; and what that one writes when
#: nothing is said, for one batch and with the weights beside the graph.
EXPORTERS: dict[str, dict[str, Any]] = {
    "traced": {"dynamo": False, "opset_version": 17},
    "exported": {"dynamo": True, "dynamic_shapes": ({0: "batch"},), "external_data": False, "verbose": False},
    "default": {"verbose": False},
}


class Case(NamedTuple):
    """A network, and who writes it."""

    make: Callable[[], torch.nn.Module]
    exporters: tuple[str, ...] = ("traced", "exported")


def _activated(name: str) -> Callable[[], torch.nn.Module]:
    return lambda: ResNet(BasicBlock, **_DEEP, act_layer=get_act_layer(name))


def _pre_activation(convolution: Callable[..., torch.nn.Module]) -> Callable[[], torch.nn.Module]:
    norm = partial(GroupNormAct, num_groups=2)
    arguments = {"layers": (1, 1), "channels": (32, 32), "num_classes": 5, "stem_chs": 8}
    return lambda: ResNetV2(**arguments, norm_layer=norm, conv_layer=convolution)


def _deep(name: str, **arguments: Any) -> Callable[[], torch.nn.Module]:
    return lambda: create_model(name, **{**_DEEP, **arguments})


#: What both write alike is recorded once.
CASES: dict[str, Case] = {
    "seresnet50": Case(_deep("seresnet50")),
    "seresnext50": Case(_deep("seresnext50_32x4d", cardinality=2, base_width=32), ("exported",)),
    "seresnetaa50d": Case(_deep("seresnetaa50d"), ("traced",)),
    "ecaresnet50t": Case(_deep("ecaresnet50t", stem_type="deep_tiered", stem_width=8)),
    "resnetrs50": Case(_deep("resnetrs50"), ("exported",)),
    "resnetblur18": Case(lambda: create_model("resnetblur18", in_chans=1, **_NARROW)),
    "resnetblur50d": Case(_deep("resnetblur50d"), ("exported",)),
    "relu6": Case(_activated("relu6")),
    "leaky_relu": Case(_activated("leaky_relu"), ("traced",)),
    "silu": Case(_activated("silu"), ("traced",)),
    "gelu": Case(_activated("gelu")),
    "gelu_tanh": Case(_activated("gelu_tanh")),
    "hardswish": Case(_activated("hard_swish"), ("traced",)),
    "maximum": Case(lambda: ResNet(BasicBlock, **_DEEP, global_pool="max")),
    "both_pools": Case(lambda: ResNet(BasicBlock, **_DEEP, global_pool="catavgmax")),
    "group_norm": Case(lambda: ResNet(Bottleneck, **_DEEP, norm_layer=partial(GroupNorm, num_groups=2))),
    "layer_norm": Case(lambda: ResNet(Bottleneck, **_DEEP, norm_layer=LayerNorm2d), tuple(EXPORTERS)),
    "pre_activation": Case(_pre_activation(create_conv2d), ("exported",)),
    "standardized": Case(_pre_activation(partial(StdConv2d, eps=1e-8))),
}


@torch.no_grad()
def draw(model: torch.nn.Module, seed: int) -> None:
    """Weights and statistics that are nowhere ones or zeros."""
    generator = np.random.default_rng(seed)
    for name, tensor in model.state_dict().items():
        if not tensor.is_floating_point():
            continue
        if tensor.ndim > 1:
            values = generator.standard_normal(tensor.shape) * np.sqrt(2 / np.prod(tensor.shape[1:]))
        elif name.endswith(("weight", "running_var")):
            values = generator.uniform(0.7, 1.4, tensor.shape)
        else:
            values = generator.normal(0, 0.2, tensor.shape)
        tensor.copy_(torch.from_numpy(values))


def images(channels: int) -> np.ndarray:
    """One picture, (batch, channels, height, width)."""
    return np.random.default_rng(0).standard_normal((1, channels, SIZE, SIZE)).astype(np.float32)


def stripped(path: Path) -> None:
    """Without what says where in the program a node comes from, which is longer than the weights."""
    proto = onnx.load(path, load_external_data=False)
    for each in (
        *proto.graph.node,
        *proto.graph.value_info,
        *proto.graph.input,
        *proto.graph.output,
        proto.graph,
        proto,
    ):
        del each.metadata_props[:]
        each.doc_string = ""
    del proto.graph.value_info[:]
    onnx.save(proto, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent / "onnx")
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    logits = {}
    for seed, (name, case) in enumerate(CASES.items(), start=1):
        model = case.make().eval()
        draw(model, seed)
        given = images(next(model.parameters()).shape[1])
        with torch.inference_mode():
            truth = model(torch.from_numpy(given)).numpy()
        for exporter in case.exporters:
            path = folder / f"{name}.{exporter}.onnx"
            torch.onnx.export(model, (torch.from_numpy(given),), str(path), **EXPORTERS[exporter])
            stripped(path)
            session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            found = session.run(None, {session.get_inputs()[0].name: given})[0]
            error = np.abs(found - truth).max() / np.abs(truth).max()
            print(path.name, path.stat().st_size, f"{error:.1e}", flush=True)
            assert error < 1e-5
            logits[path.stem] = found[0].tolist()
    packages = ("torch", "timm", "onnx", "onnxscript", "onnxruntime", "numpy")
    text = json.dumps({"versions": {each: version(each) for each in packages}, "logits": logits}, indent=1)
    (folder / "logits.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
