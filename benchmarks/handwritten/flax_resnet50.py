"""ResNet-50 in plain Flax NNX, as its users write it (stride on the 3x3, images channels last)."""

from __future__ import annotations

from functools import partial

from flax import nnx
from jax import Array

# Two-pass variance: E[x^2] - E[x]^2, Flax' default, is faster and less exact. Both contestants use this one.
BatchNorm = partial(nnx.BatchNorm, momentum=0.9, epsilon=1e-5, use_fast_variance=False)
Conv = partial(nnx.Conv, use_bias=False)


class Bottleneck(nnx.Module):
    """1x1 to `width` channels, 3x3 with the stride, 1x1 to four times the width, and the shortcut."""

    def __init__(self, in_channels: int, width: int, stride: int = 1, *, rngs: nnx.Rngs) -> None:
        out_channels = 4 * width
        self.conv1 = Conv(in_channels, width, (1, 1), rngs=rngs)
        self.norm1 = BatchNorm(width, rngs=rngs)
        # "SAME" at stride 2 pads below and to the right only, and would be another network.
        self.conv2 = Conv(width, width, (3, 3), strides=stride, padding=1, rngs=rngs)
        self.norm2 = BatchNorm(width, rngs=rngs)
        self.conv3 = Conv(width, out_channels, (1, 1), rngs=rngs)
        self.norm3 = BatchNorm(out_channels, rngs=rngs)
        self.projects = stride != 1 or in_channels != out_channels
        if self.projects:
            self.shortcut_conv = Conv(in_channels, out_channels, (1, 1), strides=stride, rngs=rngs)
            self.shortcut_norm = BatchNorm(out_channels, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        shortcut = self.shortcut_norm(self.shortcut_conv(x)) if self.projects else x
        x = nnx.relu(self.norm1(self.conv1(x)))
        x = nnx.relu(self.norm2(self.conv2(x)))
        return nnx.relu(self.norm3(self.conv3(x)) + shortcut)


class ResNet50(nnx.Module):
    """The network for ImageNet: 3, 4, 6 and 3 bottlenecks. Returns logits."""

    def __init__(self, classes: int = 1000, *, rngs: nnx.Rngs) -> None:
        self.conv = Conv(3, 64, (7, 7), strides=2, padding=3, rngs=rngs)
        self.norm = BatchNorm(64, rngs=rngs)
        blocks, channels = [], 64
        for stage, (width, depth) in enumerate([(64, 3), (128, 4), (256, 6), (512, 3)]):
            for block in range(depth):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(Bottleneck(channels, width, stride, rngs=rngs))
                channels = 4 * width
        self.blocks = nnx.List(blocks)
        self.linear = nnx.Linear(channels, classes, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        x = nnx.relu(self.norm(self.conv(x)))
        x = nnx.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        for block in self.blocks:
            x = block(x)
        return self.linear(x.mean(axis=(1, 2)))
