"""The networks of the conformance tests: narrow, shallow, and between them every leaf of the tree."""

from __future__ import annotations

import resnet_core as rn

SPECS = {
    # A basic block, biases everywhere, a bare projection, a max-pool padded with minus infinity.
    "d2l": rn.spec("resnet18_d2l", depths=(1, 2), channels=(4, 6), classes=3, in_channels=2, input_size=(21, 18)),
    # Pre-activation bottlenecks, SAME max-pool, a subsampled shortcut, dilation.
    "slim": rn.spec(
        "resnet_v2_50", depths=(2, 1), channels=(4, 6), classes=3, output_stride=4, strides=(1, 2), input_size=(21, 18)
    ),
    # Option A, no pool.
    "cifar": rn.spec("resnet20", depths=(1, 2), channels=(4, 7), classes=3, input_size=(21, 18)),
    # Groups, zeros around the pool, dense prediction.
    "dense": rn.spec(
        "resnext50_32x4d",
        depths=(1, 1),
        channels=(4, 8),
        groups=2,
        width_per_group=32,
        classes=3,
        stem_pool_padding="zeros",
        global_pool=False,
        input_size=(21, 18),
    ),
}
#: Networks of layers that Keras has no single one for, beside SPECS; between them all that a spec can say.
NEWER = {
    "gentle": rn.spec(
        "resnet50",
        depths=(1, 2),
        channels=(4, 4),
        classes=3,
        stem_channels=4,
        stem_type="deep",
        shortcut_pool="average",
        attention="se",
        antialias="blur",
        activation="leaky_relu",
        output_stride=4,
        strides=(1, 2),
        head_pool="both",
        drop_path=0.2,
        dropout=0.2,
        input_size=(21, 18),
    ),
    "grouped": rn.spec(
        "resnet18",
        depths=(1, 2),
        channels=(4, 8),
        classes=3,
        norm="group",
        norm_groups=2,
        attention="eca",
        antialias="average",
        activation="gelu_tanh",
        head_pool="max",
        input_size=(21, 18),
    ),
    "frozen": rn.spec(
        "resnet18",
        depths=(1, 2),
        channels=(4, 6),
        classes=3,
        norm="frozen",
        activation="hardswish",
        input_size=(21, 18),
    ),
    "layered": rn.spec(
        "resnet18", depths=(1, 2), channels=(4, 6), classes=3, norm="layer", activation="gelu", input_size=(21, 18)
    ),
}
#: As small as a network with a SAME pool gets, for what is slow.
TINY = rn.spec("resnet_v2_50", depths=(1,), channels=(2,), classes=3, stem_kernel=3, block="basic")
SIZES = ((21, 18), (24, 33))
