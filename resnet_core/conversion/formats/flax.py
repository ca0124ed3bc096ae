"""flax/examples/imagenet/models.py, parameters and statistics: msgpack, or a folder of Orbax."""

from __future__ import annotations

from resnet_core.conversion.formats.torchvision import FIXED
from resnet_core.conversion.naming import Format, Style, unseen


def _example(block: str, name: str) -> Style:
    """Blocks of one kind; the file says nothing of stages."""
    return Style(
        f"examples/imagenet, {block} blocks",
        {
            "stem.conv": "conv_init",
            "stem.norm": "bn_init",
            "stage{s}.block{b}.conv{n}": f"{name}_{{i-1}}/Conv_{{n-1}}",
            "stage{s}.block{b}.norm{n}": f"{name}_{{i-1}}/BatchNorm_{{n-1}}",
            "stage{s}.block{b}.shortcut.conv": f"{name}_{{i-1}}/conv_proj",
            "stage{s}.block{b}.shortcut.norm": f"{name}_{{i-1}}/norm_proj",
            "head.linear": "Dense_0",
        },
        unseen("flax", "flax_resnet50"),
        {**FIXED, "block": block, "groups": 1, "width_per_group": 64},
        collections={
            **dict.fromkeys(("kernel", "bias", "scale"), "params"),
            **dict.fromkeys(("mean", "var"), "batch_stats"),
        },
    )


#: What Flax calls the tensors of its layers, and what else its files hold.
TENSORS = {
    "layer": {"weight": "kernel", "bias": "bias"},
    "norm": {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var"},
}
NOT_CARRIED = (r"^(opt_state|step|dynamic_scale|rngs?)(/|$)", r"/(count|key)(/value)?$")

FORMAT = Format(
    "flax",
    "a ResNet of Flax",
    (
        _example("basic", "ResNetBlock"),
        _example("bottleneck", "BottleneckResNetBlock"),
    ),
    tensors=TENSORS,
    separator="/",
    aliases={r"^(params|batch_stats)/": "", r"/value$": ""},
    layout="hwio",
    writes=(".msgpack", ""),
    not_carried=NOT_CARRIED,
)
