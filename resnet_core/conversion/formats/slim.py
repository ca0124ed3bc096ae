"""TF-slim's nets/resnet_v1.py and resnet_v2.py: the variables of a TensorFlow checkpoint."""

from __future__ import annotations

from resnet_core.conversion.arguments import Argument
from resnet_core.conversion.formats.torchvision import BOTTLENECKS
from resnet_core.conversion.naming import TENSORFLOW_NORM, Format, Style, unseen


def _modules(version: str) -> dict[str, str]:
    unit = f"block{{s}}/unit_{{b}}/bottleneck_{version}"
    ends = {"stem.conv": "conv1", "head.linear": "logits"}
    convs = {
        "stage{s}.block{b}.conv{n}": f"{unit}/conv{{n}}",
        "stage{s}.block{b}.shortcut.conv": f"{unit}/shortcut",
    }
    if version == "v1":
        norms = {
            "stem.norm": "conv1/BatchNorm",
            "stage{s}.block{b}.norm{n}": f"{unit}/conv{{n}}/BatchNorm",
            "stage{s}.block{b}.shortcut.norm": f"{unit}/shortcut/BatchNorm",
        }
    else:  # the norm that stands behind a convolution there has the number of the next one here
        norms = {
            "stage{s}.block{b}.norm1": f"{unit}/preact",
            "stage{s}.block{b}.norm{n}": f"{unit}/conv{{n-1}}/BatchNorm",
            "head.norm": "postnorm",
        }
    return {**ends, **norms, **convs}


def _style(version: str) -> Style:
    fields = unseen("slim", f"resnet_{version}_50")
    return Style(
        f"resnet_{version}.py",
        _modules(version),
        fields,
        BOTTLENECKS,
        arguments=(Argument("output_stride"), Argument("global_pool")),
        convolutions=(r"head\.linear",),
        scope=f"resnet_{version}_{{l}}/",
    )


FORMAT = Format(
    "slim",
    "a ResNet of TF-slim",
    (_style("v1"), _style("v2")),
    tensors={
        "layer": {"weight": "weights", "bias": "biases"},
        "norm": TENSORFLOW_NORM,
    },
    separator="/",
    layout="hwio",
    aliases={r"^resnet_v[12]_\d+/": ""},
    writes=(".index",),
    # What an optimizer keeps, averages of the weights and the counter of steps.
    not_carried=(
        r"/(Momentum|Adam|Adam_1|RMSProp|RMSProp_1|ExponentialMovingAverage|Adagrad|Ftrl)$",
        r"^(global_step|beta1_power|beta2_power)$",
        r"mean_rgb$",
    ),
)
