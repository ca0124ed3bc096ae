"""flax_resnet50 in Flax (NNX): 224 x 224 x 3 to 1000 classes.

He et al. 2015, Deep Residual Learning for Image Recognition, arXiv:1512.03385.
Printed by `resnet source flax_resnet50 --backend flax` (resnet-core 0.0.0, layer tree
9cbaddb65145); yours to edit.
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
    in_channels: int,
    channels: int,
    kernel: int,
    stride: int = 1,
    padding: int | str = "SAME",
    *,
    rngs: nnx.Rngs,
) -> nnx.Conv:
    """No bias: the norm behind it subtracts the mean, and with it any constant."""
    # TensorFlow's "SAME": where it is uneven, more is padded behind the map.
    initial = nnx.initializers.variance_scaling(2.0, "fan_out", "normal")
    return nnx.Conv(
        in_channels,
        channels,
        (kernel, kernel),
        strides=stride,
        padding=padding,
        use_bias=False,
        kernel_init=initial,
        rngs=rngs,
    )


def norm(channels: int, *, rngs: nnx.Rngs) -> nnx.BatchNorm:
    """Momentum weighs the old value; the running variance is biased."""
    # The fast variance, E[x^2] - E[x]^2, loses digits where the mean is large.
    return nnx.BatchNorm(
        channels, momentum=0.9, epsilon=1e-5, use_fast_variance=False, rngs=rngs
    )


class Bottleneck(nnx.Module):
    """1 x 1 narrows, 3 x 3 looks around, 1 x 1 widens; the input is added.

    The 3 x 3, the costly one, works on a quarter of the channels. It also has the
    stride: a strided 1 x 1 would never look at three pixels of four.
    """

    def __init__(
        self, in_channels: int, channels: int, stride: int, *, rngs: nnx.Rngs
    ) -> None:
        out_channels = 4 * channels
        self.conv1 = conv(in_channels, channels, 1, rngs=rngs)
        self.norm1 = norm(channels, rngs=rngs)
        self.conv2 = conv(channels, channels, 3, stride, rngs=rngs)
        self.norm2 = norm(channels, rngs=rngs)
        self.conv3 = conv(channels, out_channels, 1, rngs=rngs)
        self.norm3 = norm(out_channels, rngs=rngs)
        # Each block starts as its shortcut.
        self.norm3.scale.set_value(jnp.zeros_like(self.norm3.scale[...]))
        self.projects = stride != 1 or in_channels != out_channels
        if self.projects:
            self.shortcut_conv = conv(in_channels, out_channels, 1, stride, rngs=rngs)
            self.shortcut_norm = norm(out_channels, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        y = nnx.relu(self.norm1(self.conv1(x)))
        y = nnx.relu(self.norm2(self.conv2(y)))
        y = self.norm3(self.conv3(y))
        if self.projects:
            x = self.shortcut_norm(self.shortcut_conv(x))
        return nnx.relu(y + x)


def stage(
    in_channels: int, channels: int, depth: int, stride: int = 1, *, rngs: nnx.Rngs
) -> nnx.Sequential:
    """`depth` blocks: the first widens and strides."""
    blocks = []
    for _ in range(depth):
        blocks.append(Bottleneck(in_channels, channels, stride, rngs=rngs))
        in_channels, stride = 4 * channels, 1
    return nnx.Sequential(*blocks)


class ResNet(nnx.Module):
    """Images (batch, height, width, 3) to logits."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.stem_conv = conv(3, 64, 7, stride=2, padding=3, rngs=rngs)
        self.stem_norm = norm(64, rngs=rngs)
        self.stage1 = stage(64, 64, depth=3, rngs=rngs)
        self.stage2 = stage(256, 128, depth=4, stride=2, rngs=rngs)
        self.stage3 = stage(512, 256, depth=6, stride=2, rngs=rngs)
        self.stage4 = stage(1024, 512, depth=3, stride=2, rngs=rngs)
        initial = nnx.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
        self.head_linear = nnx.Linear(
            2048, 1000, kernel_init=initial, bias_init=uniform(2048), rngs=rngs
        )

    def __call__(self, x: Array) -> Array:
        x = nnx.relu(self.stem_norm(self.stem_conv(x)))
        x = nnx.max_pool(x, (3, 3), (2, 2), "SAME")  # 56 x 56 x 64
        x = self.stage1(x)  # 56 x 56 x 256
        x = self.stage2(x)  # 28 x 28 x 512
        x = self.stage3(x)  # 14 x 14 x 1024
        x = self.stage4(x)  # 7 x 7 x 2048
        x = x.mean((1, 2))
        return self.head_linear(x)  # 1000


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
    images = jnp.zeros((1, 224, 224, 3))
    print(nnx.tabulate(model, images, depth=1))
    count = sum(p.size for p in jax.tree.leaves(nnx.state(model, nnx.Param)))
    assert count == 25_557_032
