"""transformers/models/resnet/modeling_resnet.py: a folder with config.json and model.safetensors, or the file alone."""

from __future__ import annotations

from resnet_core.conversion.formats.torchvision import COUNTERS, FIXED
from resnet_core.conversion.naming import Format, Style

_BODY = {
    "stem.conv": "embedder.embedder.convolution",
    "stem.norm": "embedder.embedder.normalization",
    "stage{s}.block{b}.conv{n}": "encoder.stages.{s-1}.layers.{b-1}.layer.{n-1}.convolution",
    "stage{s}.block{b}.norm{n}": "encoder.stages.{s-1}.layers.{b-1}.layer.{n-1}.normalization",
    "stage{s}.block{b}.shortcut.conv": "encoder.stages.{s-1}.layers.{b-1}.shortcut.convolution",
    "stage{s}.block{b}.shortcut.norm": "encoder.stages.{s-1}.layers.{b-1}.shortcut.normalization",
}

#: ResNetConfig has depths and widths of its own, and no groups.
_FIXED = {
    **{name: value for name, value in FIXED.items() if name not in ("channels", "stem_channels")},
    "groups": 1,
    "width_per_group": 64,
}

#: config.json: `downsample_in_bottleneck`. Its `hidden_act` is of the stem and of sums alone, which no spec says.
_CONFIGURED = tuple({"stride_on": place} for place in ("3x3", "1x1"))

FORMAT = Format(
    "hf",
    "a ResNet of transformers",
    (
        Style(
            "ResNetForImageClassification",
            {**{here: f"resnet.{there}" for here, there in _BODY.items()}, "head.linear": "classifier.1"},
            fixed=_FIXED,
            configured=_CONFIGURED,
        ),
        Style("ResNetModel", _BODY, fixed=_FIXED, configured=_CONFIGURED),
    ),
    writes=("", ".safetensors", ".bin"),
    folder="model.safetensors",
    not_carried=COUNTERS,
)
