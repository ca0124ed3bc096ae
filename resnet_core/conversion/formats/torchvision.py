"""torchvision/models/resnet.py: a state_dict, as .pth or .safetensors."""

from __future__ import annotations

from resnet_core.conversion.arguments import Argument
from resnet_core.conversion.naming import Format, Style

#: Names that timm has too.
MODULES = {
    "stem.conv": "conv1",
    "stem.norm": "bn1",
    "stage{s}.block{b}.conv{n}": "layer{s}.{b-1}.conv{n}",
    "stage{s}.block{b}.norm{n}": "layer{s}.{b-1}.bn{n}",
    "stage{s}.block{b}.shortcut.conv": "layer{s}.{b-1}.downsample.0",
    "stage{s}.block{b}.shortcut.norm": "layer{s}.{b-1}.downsample.1",
    "head.linear": "fc",
}

#: ResNet takes depths, groups and their width, and no other.
FIXED: dict[str, object] = {
    "channels": [64, 128, 256, 512],
    "stem": True,
    "stem_type": "conv",
    "stem_channels": None,
    "stem_kernel": 7,
    "expansion": None,
    "reduce_first": 1,
    "group_channels": None,
    "shortcut_kernel": 1,
    "shortcut_norm": None,
    "head_bias": True,
}

#: What Keras' and TF-slim's ResNets are besides.
BOTTLENECKS = {**FIXED, "block": "bottleneck", "groups": 1, "width_per_group": 64}

#: BatchNorm2d counts its batches, and reads the counter only where it has no momentum.
COUNTERS = (r"\.num_batches_tracked$",)

#: The first block of a dense stage keeps the dilation before, which is what is done here, since behind its 3x3 stands a
#: 1x1. Basic blocks have no dilation there.
_DENSE = Argument("output_stride", only={"block": "bottleneck"}, by_stage="replace_stride_with_dilation")

FORMAT = Format(
    "torchvision",
    "torchvision's ResNet",
    (Style("resnet.py", MODULES, fixed=FIXED, arguments=(_DENSE,)),),
    writes=(".safetensors", ".pth"),
    not_carried=COUNTERS,
)
