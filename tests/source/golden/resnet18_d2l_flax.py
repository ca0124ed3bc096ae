"""resnet18_d2l in Flax (NNX): 96 x 96 x 1 to 10 classes.

He et al. 2015, Deep Residual Learning for Image Recognition, arXiv:1512.03385.
Printed by `resnet source resnet18_d2l --backend flax` (resnet-core 0.0.0, layer tree
369bf28c6f0f); yours to edit.
"""

import json
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array


def uniform(inputs: int) -> nnx.Initializer:
    """Biases as PyTorch draws them, narrower where an output has more inputs."""
    bound = inputs**-0.5
    return partial(jax.random.uniform, minval=-bound, maxval=bound)


def conv(
    in_channels: int, channels: int, kernel: int, stride: int = 1, *, rngs: nnx.Rngs
) -> nnx.Conv:
    padding = kernel // 2  # keeps the size at stride 1
    initial = nnx.initializers.variance_scaling(1.0, "fan_avg", "uniform")
    return nnx.Conv(
        in_channels,
        channels,
        (kernel, kernel),
        strides=stride,
        padding=padding,
        kernel_init=initial,
        bias_init=uniform(kernel**2 * in_channels),
        rngs=rngs,
    )


def norm(channels: int, *, rngs: nnx.Rngs) -> nnx.BatchNorm:
    """Momentum weighs the old value; the running variance is biased."""
    # The fast variance, E[x^2] - E[x]^2, loses digits where the mean is large.
    return nnx.BatchNorm(
        channels, momentum=0.9, epsilon=1e-5, use_fast_variance=False, rngs=rngs
    )


class BasicBlock(nnx.Module):
    """Two 3 x 3 convolutions; the input is added to what they give."""

    def __init__(
        self, in_channels: int, channels: int, stride: int, *, rngs: nnx.Rngs
    ) -> None:
        self.conv1 = conv(in_channels, channels, 3, stride, rngs=rngs)
        self.norm1 = norm(channels, rngs=rngs)
        self.conv2 = conv(channels, channels, 3, rngs=rngs)
        self.norm2 = norm(channels, rngs=rngs)
        self.projects = stride != 1 or in_channels != channels
        if self.projects:
            self.shortcut_conv = conv(in_channels, channels, 1, stride, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        y = nnx.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        if self.projects:
            x = self.shortcut_conv(x)
        return nnx.relu(y + x)


def stage(
    in_channels: int, channels: int, depth: int, stride: int = 1, *, rngs: nnx.Rngs
) -> nnx.Sequential:
    """`depth` blocks: the first widens and strides."""
    blocks = []
    for _ in range(depth):
        blocks.append(BasicBlock(in_channels, channels, stride, rngs=rngs))
        in_channels, stride = channels, 1
    return nnx.Sequential(*blocks)


class ResNet(nnx.Module):
    """Images (batch, height, width, 1) to logits."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.stem_conv = conv(1, 64, 7, stride=2, rngs=rngs)
        self.stem_norm = norm(64, rngs=rngs)
        self.stage1 = stage(64, 64, depth=2, rngs=rngs)
        self.stage2 = stage(64, 128, depth=2, stride=2, rngs=rngs)
        self.stage3 = stage(128, 256, depth=2, stride=2, rngs=rngs)
        self.stage4 = stage(256, 512, depth=2, stride=2, rngs=rngs)
        initial = nnx.initializers.variance_scaling(1.0, "fan_avg", "uniform")
        self.head_linear = nnx.Linear(
            512, 10, kernel_init=initial, bias_init=uniform(512), rngs=rngs
        )

    def __call__(self, x: Array) -> Array:
        x = nnx.relu(self.stem_norm(self.stem_conv(x)))
        x = nnx.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))  # 24 x 24 x 64
        x = self.stage1(x)  # 24 x 24 x 64
        x = self.stage2(x)  # 12 x 12 x 128
        x = self.stage3(x)  # 6 x 6 x 256
        x = self.stage4(x)  # 3 x 3 x 512
        x = x.mean((1, 2))
        return self.head_linear(x)  # 10


def read(path: str) -> dict[str, np.ndarray]:
    """A safetensors file: the header's length, the header in JSON, the numbers."""
    data = Path(path).read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header, tensors = json.loads(data[8:start]), {}
    header.pop("__metadata__", None)
    for name, entry in header.items():
        begin, end = (start + offset for offset in entry["data_offsets"])
        kind = {"F32": "<f4", "F64": "<f8"}[entry["dtype"]]
        tensors[name] = np.frombuffer(data[begin:end], kind).reshape(entry["shape"])
    return tensors


def load(model: nnx.Module, path: str) -> None:
    """Neutral weights; kernels there are (out, in, height, width)."""
    tensors = read(path)
    kinds = {"bias": "bias", "mean": "running_mean", "var": "running_var"}
    for keys, variable in nnx.iter_graph(model):
        if isinstance(variable, nnx.Param | nnx.BatchStat):
            *place, kind = (f"block{k + 1}" if isinstance(k, int) else k for k in keys)
            name = ".".join(place).replace("_", ".").replace(".layers", "")
            value = tensors[f"{name}.{kinds.get(kind, 'weight')}"]
            value = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T
            variable.set_value(jnp.asarray(value))


if __name__ == "__main__":
    model = ResNet(rngs=nnx.Rngs(0))
    model.eval()
    images = jnp.zeros((1, 96, 96, 1))
    print(nnx.tabulate(model, images, depth=1))
    count = sum(p.size for p in jax.tree.leaves(nnx.state(model, nnx.Param)))
    assert count == 11_178_378
