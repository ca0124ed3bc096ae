"""The check can fail: every planted defect is caught by it, in a network of the zoo, and it passes without the defect.

In PyTorch and in float32, whose limit is the looser one. The conformance kit plants in every backend what shows in a
single layer.
"""

from __future__ import annotations

import pytest

import defects
import resnet_core as rn
from engine_pool import TOLERANCE, EnginePool, batch, problems

NARROW = {"channels": [8, 16, 32], "depths": [1, 2, 1], "classes": 10}
BOTTLENECK = rn.spec("resnet50", **NARROW)
SLIM = rn.spec("resnet_v2_50", **NARROW)
DILATED = rn.spec("resnet_v2_50", **NARROW, output_stride=8)
CIFAR = rn.spec("resnet20", channels=[4, 8, 16], depths=[1, 1, 1])
D2L = rn.spec("resnet18_d2l", **NARROW)
GROUPED = rn.spec("resnext50_32x4d", **NARROW, groups=8, width_per_group=16)
GATED = rn.spec("resnet50d", attention="eca", antialias="blur", **NARROW)
STANDARDIZED = rn.spec("resnetv2_50x1_bit", norm_group_channels=2, activation="gelu", **NARROW)
LAYERED = rn.spec("resnet18", norm="layer", head_pool="max", **NARROW)
FROZEN = rn.spec("resnet18", norm="frozen", norm_epsilon=1e-3, **NARROW)

#: Where each defect shows. 66 x 52 is 33 x 26 at the pool: one odd side, one even.
SIZE = (66, 52)
WHERE = {
    "SAME padding at stride 2": BOTTLENECK,
    "wrong epsilon": BOTTLENECK,
    "stride on the other convolution": BOTTLENECK,
    "missing ReLU": BOTTLENECK,
    "symmetric instead of SAME max-pool": SLIM,
    "height and width swapped in the SAME rule": SLIM,
    "dilation lost": DILATED,
    "channels padded at the end": CIFAR,
    "averaging instead of subsampling": CIFAR,
    "projection reads the raw input": SLIM,
    "swapped gamma and variance": BOTTLENECK,
    "swapped beta and mean": BOTTLENECK,
    "lost running mean": BOTTLENECK,
    "lost running variance": BOTTLENECK,
    "kernels transposed": BOTTLENECK,
    "kernels flipped": BOTTLENECK,
    "lost convolution bias": D2L,
    "groups dealt in the wrong order": GROUPED,
    "zeros beyond the edge are averaged": GATED,
    "averaging instead of blurring": GATED,
    "a gate without a sigmoid": GATED,
    "channel kernels flipped": GATED,
    "standardization lost": STANDARDIZED,
    "one group for all channels": STANDARDIZED,
    "layer norm over the whole map": LAYERED,
    "average instead of maximum": LAYERED,
    "frozen norm with another epsilon": FROZEN,
}


@pytest.mark.parametrize("name", WHERE)
def test_the_check_catches(pool: EnginePool, name: str) -> None:
    spec = WHERE[name]
    # An averaging pool without padding has the subsampling's shape for even sizes only.
    size = (64, 48) if name.startswith("averaging") else SIZE
    weights, images = rn.probe_weights(spec, 3), batch(spec, size, 3)
    truth = pool.reference(spec, weights, images)
    assert problems(pool.taps("torch", spec, weights, images, "float32"), truth, TOLERANCE["float32"]) == {}

    worker = pool.engine("torch", "float32")
    if name in defects.WEIGHT_DEFECTS:
        found = pool.taps("torch", spec, defects.WEIGHT_DEFECTS[name](weights), images, "float32")
    else:
        worker.call("defects:plant", name=name)
        try:
            found = pool.taps("torch", spec, weights, images, "float32")
        finally:
            worker.call("defects:plant", name=None)
    assert "logits" in problems(found, truth, TOLERANCE["float32"])
    assert problems(found, truth, 100 * TOLERANCE["float32"]), "caught only just: the defect is too small to trust"


#: What only training shows, and what is less than a hundred times float32's rounding here: the kit's, leaf by leaf.
NOT_HERE = {"wrong decay", "tanh for erf"}


def test_every_defect_of_evaluation_is_tried() -> None:
    assert set(WHERE) == {*defects.TREE_DEFECTS, *defects.WEIGHT_DEFECTS} - NOT_HERE
