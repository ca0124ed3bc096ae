"""resnet_v2_50 in Flax (NNX): 224 x 224 x 3 to 1000 classes.

He et al. 2016, Identity Mappings in Deep Residual Networks, arXiv:1603.05027.
Printed by `resnet source resnet_v2_50 --backend flax` (resnet-core 0.0.0, layer tree
ed72915b5334); yours to edit.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array


def conv(
    in_channels: int,
    channels: int,
    kernel: int,
    stride: int = 1,
    bias: bool = False,
    *,
    rngs: nnx.Rngs,
) -> nnx.Conv:
    padding = kernel // 2  # keeps the size at stride 1
    deviation = (2.6 / (kernel**2 * in_channels)) ** 0.5  # 1.3 * 2 / fan in
    return nnx.Conv(
        in_channels,
        channels,
        (kernel, kernel),
        strides=stride,
        padding=padding,
        use_bias=bias,
        kernel_init=nnx.initializers.truncated_normal(deviation),
        rngs=rngs,
    )


def norm(channels: int, *, rngs: nnx.Rngs) -> nnx.BatchNorm:
    """Momentum weighs the old value; the running variance is biased."""
    # The fast variance, E[x^2] - E[x]^2, loses digits where the mean is large.
    return nnx.BatchNorm(
        channels, momentum=0.997, epsilon=1e-5, use_fast_variance=False, rngs=rngs
    )


class PreActBottleneck(nnx.Module):
    """1 x 1 narrows, 3 x 3 looks around, 1 x 1 widens; the input is added.

    The 3 x 3, the costly one, works on a quarter of the channels. It also has the
    stride: a strided 1 x 1 would never look at three pixels of four. Norm and relu come
    before each convolution, so that the sum reaches the next block untouched. A
    projection reads the activated x, everything else x itself.
    """

    def __init__(
        self, in_channels: int, channels: int, stride: int, *, rngs: nnx.Rngs
    ) -> None:
        out_channels = 4 * channels
        self.norm1 = norm(in_channels, rngs=rngs)
        self.conv1 = conv(in_channels, channels, 1, rngs=rngs)
        self.norm2 = norm(channels, rngs=rngs)
        self.conv2 = conv(channels, channels, 3, stride, rngs=rngs)
        self.norm3 = norm(channels, rngs=rngs)
        self.conv3 = conv(channels, out_channels, 1, bias=True, rngs=rngs)
        self.projects = in_channels != out_channels
        if self.projects:
            self.shortcut_conv = conv(
                in_channels, out_channels, 1, stride, bias=True, rngs=rngs
            )
        self.stride = stride
        self.reshapes = stride != 1

    def __call__(self, x: Array) -> Array:
        y = nnx.relu(self.norm1(x))
        if self.projects:
            x = self.shortcut_conv(y)
        elif self.reshapes:
            x = x[:, :: self.stride, :: self.stride]  # every stride-th pixel
        y = self.conv1(y)
        y = self.conv2(nnx.relu(self.norm2(y)))
        y = self.conv3(nnx.relu(self.norm3(y)))
        return y + x


def stage(
    in_channels: int, channels: int, depth: int, stride: int = 1, *, rngs: nnx.Rngs
) -> nnx.Sequential:
    """`depth` blocks: the first widens, the last strides, as in TF-slim."""
    blocks = []
    for number in range(1, depth + 1):
        block_stride = stride if number == depth else 1
        blocks.append(PreActBottleneck(in_channels, channels, block_stride, rngs=rngs))
        in_channels = 4 * channels
    return nnx.Sequential(*blocks)


class ResNet(nnx.Module):
    """Images (batch, height, width, 3) to logits."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.stem_conv = conv(3, 64, 7, stride=2, bias=True, rngs=rngs)
        self.stage1 = stage(64, 64, depth=3, stride=2, rngs=rngs)
        self.stage2 = stage(256, 128, depth=4, stride=2, rngs=rngs)
        self.stage3 = stage(512, 256, depth=6, stride=2, rngs=rngs)
        self.stage4 = stage(1024, 512, depth=3, rngs=rngs)
        self.head_norm = norm(2048, rngs=rngs)
        deviation = (2.6 / 2048) ** 0.5  # 1.3 * 2 / fan in
        self.head_linear = nnx.Linear(
            2048,
            1000,
            kernel_init=nnx.initializers.truncated_normal(deviation),
            rngs=rngs,
        )

    def __call__(self, x: Array) -> Array:
        x = self.stem_conv(x)
        x = nnx.max_pool(x, (3, 3), (2, 2), "SAME")  # 56 x 56 x 64
        x = self.stage1(x)  # 28 x 28 x 256
        x = self.stage2(x)  # 14 x 14 x 512
        x = self.stage3(x)  # 7 x 7 x 1024
        x = self.stage4(x)  # 7 x 7 x 2048
        x = nnx.relu(self.head_norm(x))
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
    assert count == 25_568_360
