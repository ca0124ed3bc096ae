"""resnet20 in Keras: 32 x 32 x 3 to 10 classes.

He et al. 2015, Deep Residual Learning for Image Recognition, arXiv:1512.03385.
Printed by `resnet source resnet20 --backend keras --train --recipe cifar-2015`
(resnet-core 0.0.0, layer tree 1af6f47cd023); yours to edit.
"""

import json
import math
from collections.abc import Collection
from itertools import chain, islice, repeat
from pathlib import Path

import keras
import numpy as np
from keras import KerasTensor, initializers, layers, ops


def conv(x: KerasTensor, channels: int, stride: int = 1, *, name: str) -> KerasTensor:
    """Pads both sides alike; "same" would pad a strided map behind the image."""
    if stride > 1:
        x = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
    initial = initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal")
    layer = layers.Conv2D(
        channels,
        3,
        strides=stride,
        padding="same" if stride == 1 else "valid",
        use_bias=False,
        kernel_initializer=initial,
        name=name,
    )
    return layer(x)


def norm(x: KerasTensor, *, name: str) -> KerasTensor:
    """Momentum weighs the old value; the running variance is biased."""
    layer = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)
    return layer(x)


def basic_block(
    x: KerasTensor, channels: int, stride: int, *, name: str
) -> KerasTensor:
    """Two 3 x 3 convolutions; the input is added to what they give.

    The shortcut (option A) skips pixels and adds zero channels: it has no parameters.
    """
    y = conv(x, channels, stride, name=f"{name}_conv1")
    y = norm(y, name=f"{name}_norm1")
    y = layers.ReLU(name=f"{name}_relu1")(y)
    y = conv(y, channels, name=f"{name}_conv2")
    y = norm(y, name=f"{name}_norm2")
    if stride != 1:
        margin = (channels - x.shape[-1]) // 2
        # picks every stride-th pixel
        x = layers.MaxPooling2D(1, stride, name=f"{name}_shortcut_subsample")(x)
        x = ops.pad(x, ((0, 0), (0, 0), (0, 0), (margin, margin)))
    y = layers.Add(name=f"{name}_add")([y, x])
    return layers.ReLU(name=f"{name}_relu2")(y)


def stage(
    x: KerasTensor, channels: int, depth: int, stride: int = 1, *, name: str
) -> KerasTensor:
    """`depth` blocks: the first widens and strides."""
    for number in range(1, depth + 1):
        x = basic_block(x, channels, stride, name=f"{name}_block{number}")
        stride = 1
    return x


def resnet(height: int | None = None, width: int | None = None) -> keras.Model:
    """Images (batch, height, width, 3) to logits."""
    images = keras.Input((height, width, 3))
    x = conv(images, 16, name="stem_conv")
    x = norm(x, name="stem_norm")
    x = layers.ReLU(name="stem_relu")(x)  # 32 x 32 x 16
    x = stage(x, 16, depth=3, name="stage1")  # 32 x 32 x 16
    x = stage(x, 32, depth=3, stride=2, name="stage2")  # 16 x 16 x 32
    x = stage(x, 64, depth=3, stride=2, name="stage3")  # 8 x 8 x 64
    x = layers.GlobalAveragePooling2D(name="head_pool")(x)
    initial = initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal")
    x = layers.Dense(10, kernel_initializer=initial, name="head_linear")(x)  # 10
    return keras.Model(images, x, name="resnet20")


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


def load(model: keras.Model, path: str) -> None:
    """Neutral weights; kernels there are (out, in, height, width)."""
    tensors, kinds = read(path), ("weight", "bias", "running_mean", "running_var")
    for layer in model.layers:
        for variable, kind in zip(layer.weights, kinds, strict=False):
            value = tensors[f"{layer.name.replace('_', '.')}.{kind}"]
            variable.assign(value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T)


def learning_rate(step: int) -> float:
    """Starts at 0.1, then drops to a tenth at steps 32,000 and 48,000."""
    drops = sum(step >= milestone for milestone in (32_000, 48_000))
    return 0.1 * 0.1**drops


class SGD(keras.optimizers.SGD):
    """SGD with a momentum, and a decay of 1e-4.

    The rate stays out of the momentum, so that a drop takes effect at once. Everything
    that is trained decays, biases, scales and shifts too.
    """

    def update_step(
        self, gradient: KerasTensor, variable: KerasTensor, learning_rate: KerasTensor
    ) -> None:
        gradient = gradient + 1e-4 * variable
        buffer = self.momentums[self._get_variable_index(variable)]
        self.assign(buffer, self.momentum * buffer + gradient)
        self.assign_sub(variable, learning_rate * buffer)


def train(model: keras.Model, data: Collection[tuple[np.ndarray, np.ndarray]]) -> None:
    """64,000 steps in batches of 128, shuffled anew every epoch.

    The recipe has its pictures less the mean training picture, cropped at random from a
    border of four zeros, and mirrored half of the time.
    """
    crossentropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(SGD(0.1, momentum=0.9), crossentropy)
    batches = islice(chain.from_iterable(repeat(data)), 64_000)
    for step, (images, labels) in enumerate(batches):
        model.optimizer.learning_rate = learning_rate(step)
        loss = model.train_on_batch(images, labels)
        print(f"step {step}: loss {loss:.4f}")


if __name__ == "__main__":
    model = resnet(32, 32)
    model.summary()
    count = sum(math.prod(variable.shape) for variable in model.trainable_variables)
    assert count == 269_722
