"""resnet20 in Flax (NNX): 32 x 32 x 3 to 10 classes.

He et al. 2015, Deep Residual Learning for Image Recognition, arXiv:1512.03385.
Printed by `resnet source resnet20 --backend flax --train --recipe cifar-2015`
(resnet-core 0.0.0, layer tree 1af6f47cd023); yours to edit.
"""

import json
from collections.abc import Collection
from itertools import chain, islice, repeat
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array


def conv(
    in_channels: int, channels: int, stride: int = 1, *, rngs: nnx.Rngs
) -> nnx.Conv:
    """No bias: the norm behind it subtracts the mean, and with it any constant."""
    initial = nnx.initializers.variance_scaling(2.0, "fan_in", "normal")
    return nnx.Conv(
        in_channels,
        channels,
        (3, 3),
        strides=stride,
        padding=1,
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


class BasicBlock(nnx.Module):
    """Two 3 x 3 convolutions; the input is added to what they give.

    The shortcut (option A) skips pixels and adds zero channels: it has no parameters.
    """

    def __init__(
        self, in_channels: int, channels: int, stride: int, *, rngs: nnx.Rngs
    ) -> None:
        self.conv1 = conv(in_channels, channels, stride, rngs=rngs)
        self.norm1 = norm(channels, rngs=rngs)
        self.conv2 = conv(channels, channels, rngs=rngs)
        self.norm2 = norm(channels, rngs=rngs)
        self.margin = (channels - in_channels) // 2
        self.stride = stride
        self.reshapes = stride != 1

    def __call__(self, x: Array) -> Array:
        y = nnx.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        if self.reshapes:
            x = x[:, :: self.stride, :: self.stride]  # every stride-th pixel
            # channels of zeros
            x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (self.margin, self.margin)))
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
    """Images (batch, height, width, 3) to logits."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.stem_conv = conv(3, 16, rngs=rngs)
        self.stem_norm = norm(16, rngs=rngs)
        self.stage1 = stage(16, 16, depth=3, rngs=rngs)
        self.stage2 = stage(16, 32, depth=3, stride=2, rngs=rngs)
        self.stage3 = stage(32, 64, depth=3, stride=2, rngs=rngs)
        initial = nnx.initializers.variance_scaling(2.0, "fan_in", "normal")
        self.head_linear = nnx.Linear(64, 10, kernel_init=initial, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        x = nnx.relu(self.stem_norm(self.stem_conv(x)))  # 32 x 32 x 16
        x = self.stage1(x)  # 32 x 32 x 16
        x = self.stage2(x)  # 16 x 16 x 32
        x = self.stage3(x)  # 8 x 8 x 64
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


def learning_rate(step: Array) -> Array:
    """Starts at 0.1, then drops to a tenth at steps 32,000 and 48,000."""
    drops = sum(step >= milestone for milestone in (32_000, 48_000))
    return 0.1 * 0.1**drops


def make_optimizer(model: ResNet) -> nnx.Optimizer:
    """SGD with a momentum, and a decay of 1e-4.

    Everything that is trained decays, biases, scales and shifts too.
    """
    decay = optax.add_decayed_weights(1e-4)
    sgd = optax.sgd(learning_rate, momentum=0.9)
    return nnx.Optimizer(model, optax.chain(decay, sgd), wrt=nnx.Param)


@nnx.jit
def train_step(
    model: ResNet, optimizer: nnx.Optimizer, images: Array, labels: Array
) -> Array:
    """One step; the loss is from before it."""

    def loss_of(model: ResNet) -> Array:
        losses = optax.softmax_cross_entropy_with_integer_labels(model(images), labels)
        return losses.mean()

    loss, gradients = nnx.value_and_grad(loss_of)(model)
    optimizer.update(model, gradients)
    return loss


def train(model: ResNet, data: Collection[tuple[Array, Array]]) -> None:
    """64,000 steps in batches of 128, shuffled anew every epoch.

    The recipe has its pictures less the mean training picture, cropped at random from a
    border of four zeros, and mirrored half of the time.
    """
    model.train()
    optimizer = make_optimizer(model)
    batches = islice(chain.from_iterable(repeat(data)), 64_000)
    for step, (images, labels) in enumerate(batches):
        loss = train_step(model, optimizer, images, labels)
        print(f"step {step}: loss {loss:.4f}")


if __name__ == "__main__":
    model = ResNet(rngs=nnx.Rngs(0))
    model.eval()
    images = jnp.zeros((1, 32, 32, 3))
    print(nnx.tabulate(model, images, depth=1))
    count = sum(p.size for p in jax.tree.leaves(nnx.state(model, nnx.Param)))
    assert count == 269_722
