"""The networks of the kit: narrow, shallow, and between them every kind of layer and of block that a spec makes."""

from __future__ import annotations

from typing import Any

from resnet_core.architecture import layer_tree
from resnet_core.conformance.subjects import Subject
from resnet_core.spec_files import spec

#: Odd and even, mixed parity on either side, also where the strides and the pool sit.
SIZES = ((21, 18), (24, 33), (26, 20))

_NARROW: dict[str, dict[str, Any]] = {
    # A basic block, biases everywhere, a bare projection, a max-pool padded with minus infinity, two channels.
    "resnet18_d2l": {"depths": (1, 2), "channels": (4, 6), "classes": 3, "in_channels": 2},
    # Pre-activation bottlenecks, a SAME max-pool, a subsampled shortcut, dilation.
    "resnet_v2_50": {"depths": (2, 1), "channels": (4, 6), "classes": 3, "output_stride": 4, "strides": (1, 2)},
    # Option A, no pool.
    "resnet20": {"depths": (1, 2), "channels": (4, 7), "classes": 3},
    # Groups, zeros around the pool, dense prediction.
    "resnext50_32x4d": {
        "depths": (1, 1), "channels": (4, 8), "classes": 3, "groups": 2, "width_per_group": 32,
        "stem_pool_padding": "zeros", "global_pool": False,
    },
    # A basic block whose stride became a dilation, features without classes.
    "resnet18": {"depths": (1, 1), "channels": (4, 6), "classes": None, "output_stride": 4},
}  # fmt: skip

#: Name in the zoo to a network of that kind.
NETWORKS: dict[str, Subject] = {
    name: Subject(layer_tree(narrow), narrow.in_channels, SIZES, narrow)
    for name, fields in _NARROW.items()
    for narrow in [spec(name, **fields)]
}

#: What is trained: every norm sees hundreds of values, and nothing in it has a gradient that is only rounding.
_TRAINED = spec("resnet20", depths=(1,), channels=(4,), classes=5)
TRAINED = Subject(layer_tree(_TRAINED), 3, ((12, 11),), _TRAINED)

#: The same kind with a random depth and a dropout; with four channels, one of its slots would be rounding.
_DROPPING = spec(_TRAINED, depths=(2,), channels=(6,), drop_path=0.5, drop_path_rule="uniform", dropout=0.5)
DROPPING = Subject(layer_tree(_DROPPING), 3, ((12, 11),), _DROPPING)

_TAPPED = {"depths": (2,), "channels": (4,), "classes": 3, "shortcut": "projection_all"}
#: {kind of block: (a network, taps inside it)}: what layers that work in place would change, blocks that are alike,
#: shortcuts, gates, and the taps that have names.
TAPPED: dict[str, tuple[Subject, tuple[str, ...]]] = {
    kind: (Subject(layer_tree(tapped), 3, SIZES[:2], tapped), taps)
    for kind, tapped, taps in (
        (
            "with norms",
            spec("resnet18", **_TAPPED, dropout=0.5),
            (
                "stage1.block1", "stage1.block2", "stem_relu", "stem.norm", "stage1.block1.norm1",
                "stage1.block1.norm2", "stage1.block2.shortcut", "features", "logits", "stage1",
            ),
        ),
        (
            "without norms",
            spec("resnet18", **_TAPPED, norm="none", attention="se"),
            (
                "stem.conv", "stage1.block1.conv1", "stage1.block1.conv2", "stage1.block2.se",
                "stage1.block2.se.expand", "stage1.block2.se.sigmoid", "stage1.block1.shortcut.conv",
            ),
        ),
        (
            "pre-activation",
            spec("resnet18", **{**_TAPPED, "shortcut": "projection"}, preactivation=True),
            ("stem_relu", "stage1.block1", "stage1.block2.norm1", "stage1.block2.shortcut", "head.norm", "features"),
        ),
    )
}  # fmt: skip

#: The smallest, for what does not depend on the network.
SMALL = "resnet20"
