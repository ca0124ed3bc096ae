"""timm/models: resnet.py, resnetv2.py and byobnet.py, as .safetensors, .bin or .pth.

No name tells a maximum from a pool that keeps its stride, nor a blur: what has no tensor is left to the configuration.
"""

from __future__ import annotations

from typing import Any

from resnet_core.conversion.arguments import Argument
from resnet_core.conversion.formats.torchvision import COUNTERS
from resnet_core.conversion.formats.torchvision import MODULES as PLAIN
from resnet_core.conversion.naming import Format, Style

_GATES = {
    "stage{s}.block{b}.se.reduce": "layer{s}.{b-1}.se.fc1",
    "stage{s}.block{b}.se.expand": "layer{s}.{b-1}.se.fc2",
    "stage{s}.block{b}.eca.conv": "layer{s}.{b-1}.se.conv",
    "stem.pool_conv": "maxpool.0",
    "stem.pool_norm": "maxpool.1",
}
#: Convolutions and norms are counted with the activations between them.
_DEEP = {
    "stem.conv1": "conv1.0",
    "stem.norm1": "conv1.1",
    "stem.conv2": "conv1.3",
    "stem.norm2": "conv1.4",
    "stem.conv3": "conv1.6",
    "stem.norm3": "bn1",
}
#: The average pool, or an identity in its place, is the first of three.
_POOLED = {
    "stage{s}.block{b}.shortcut.conv": "layer{s}.{b-1}.downsample.1",
    "stage{s}.block{b}.shortcut.norm": "layer{s}.{b-1}.downsample.2",
}
_V2 = {
    "stem.conv{n}": "stem.conv{n}",
    "stem.norm{n}": "stem.norm{n}",
    "stem.conv": "stem.conv",
    "stage{s}.block{b}.conv{n}": "stages.{s-1}.blocks.{b-1}.conv{n}",
    "stage{s}.block{b}.norm{n}": "stages.{s-1}.blocks.{b-1}.norm{n}",
    "stage{s}.block{b}.shortcut.conv": "stages.{s-1}.blocks.{b-1}.downsample.conv",
    "stage{s}.block{b}.shortcut.norm": "stages.{s-1}.blocks.{b-1}.downsample.norm",
    "head.norm": "norm",
    "head.linear": "head.fc",
}
_BYOB = {
    "stem.conv{n}": "stem.conv{n}.conv",
    "stem.norm{n}": "stem.conv{n}.bn",
    "stage{s}.block{b}.conv2": "stages.{s-1}.{b-1}.conv2_kxk.conv",
    "stage{s}.block{b}.norm2": "stages.{s-1}.{b-1}.conv2_kxk.bn",
    "stage{s}.block{b}.conv{n}": "stages.{s-1}.{b-1}.conv{n}_1x1.conv",
    "stage{s}.block{b}.norm{n}": "stages.{s-1}.{b-1}.conv{n}_1x1.bn",
    "stage{s}.block{b}.se.reduce": "stages.{s-1}.{b-1}.attn.fc1",
    "stage{s}.block{b}.se.expand": "stages.{s-1}.{b-1}.attn.fc2",
    "stage{s}.block{b}.shortcut.conv": "stages.{s-1}.{b-1}.shortcut.conv",
    "stage{s}.block{b}.shortcut.norm": "stages.{s-1}.{b-1}.shortcut.bn",
    "head.conv": "final_conv.conv",
    "head.norm": "final_conv.bn",
    "head.linear": "head.fc",
}

#: What has the same names: a pool that keeps the stride in blocks.
_STRIDES: tuple[dict[str, Any], ...] = ({"antialias": "average"}, {"antialias": "blur"})
#: Pools of a dense network are not dilated there, and those of shortcuts count zeros beyond the edge.
_UNPOOLED = {"shortcut_pool": "none", "antialias": "none"}
_DENSE = Argument("output_stride", (8, 16, 32), _UNPOOLED, projects_by_width=True, most=4)
_SQUEEZE = (r"stage\d+\.block\d+\.se\.(reduce|expand)",)


def _resnet(name: str, deep: bool, pooled: bool) -> Style:
    modules = {**PLAIN, **_GATES}
    if deep:
        modules = {key: there for key, there in modules.items() if key not in ("stem.conv", "stem.norm")} | _DEEP
    return Style(
        name,
        modules | (_POOLED if pooled else {}),
        {"shortcut_pool": "average" if pooled else "none"},
        alternatives=_STRIDES,
        configured=({"norm": "group"}, {"stem_pool": "conv"}),
        arguments=(_DENSE,),
        convolutions=_SQUEEZE,
    )


FORMAT = Format(
    "timm",
    "timm's ResNet",
    (
        _resnet("resnet.py", deep=False, pooled=False),
        _resnet("resnet.py with three convolutions in the stem", deep=True, pooled=False),
        _resnet("resnet.py with pools in shortcuts", deep=False, pooled=True),
        _resnet("resnet.py with three convolutions in the stem and pools in shortcuts", deep=True, pooled=True),
        Style(
            "resnetv2.py",
            _V2,
            {"preactivation": True},
            alternatives=({"shortcut_pool": "average"}, {"standardize_weights": True, "stem_pool_padding": "zeros"}),
            configured=(
                {"norm": "group", "shortcut_pool": "average"},
                {"norm": "group", "standardize_weights": True, "stem_pool_padding": "zeros"},
            ),
            arguments=(_DENSE,),
            convolutions=(r"head\.linear",),
        ),
        Style(
            "byobnet.py",
            _BYOB,
            {"activation": "silu", "attention_place": "inner"},
            alternatives=({"stem_pool": "stride"},),
            arguments=(_DENSE,),
            convolutions=_SQUEEZE,
        ),
    ),
    writes=(".safetensors", ".pth", ".bin"),
    not_carried=COUNTERS,
    refused={
        r"^layer0\.conv1\.": "senet.py (legacy_senet154, legacy_seresnet50 and so on): its pool in the stem rounds up "
        "without a padding, which is no stem_pool_padding, and its basic blocks have a ReLU more before the gate, "
        "which is no attention_place; the networks of resnet.py are read (senet154, seresnet50)"
    },
)
