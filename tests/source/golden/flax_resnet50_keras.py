"""flax_resnet50 in Keras: 224 x 224 x 3 to 1000 classes.

He et al. 2015, Deep Residual Learning for Image Recognition, arXiv:1512.03385.
Printed by `resnet source flax_resnet50 --backend keras` (resnet-core 0.0.0, layer tree
9cbaddb65145); yours to edit.
"""

import json
import math
from pathlib import Path

import keras
import numpy as np
from keras import KerasTensor, initializers, layers, ops


def conv(
    x: KerasTensor,
    channels: int,
    kernel: int,
    stride: int = 1,
    padding: int | str = "same",
    *,
    name: str,
) -> KerasTensor:
    # TensorFlow's "same": where it is uneven, more is padded behind the map.
    if padding != "same":
        x = layers.ZeroPadding2D(padding, name=f"{name}_pad")(x)
        padding = "valid"
    initial = initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
    layer = layers.Conv2D(
        channels,
        kernel,
        strides=stride,
        padding=padding,
        use_bias=False,
        kernel_initializer=initial,
        name=name,
    )
    return layer(x)


def norm(x: KerasTensor, *, name: str) -> KerasTensor:
    """Momentum weighs the old value; the running variance is biased."""
    layer = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)
    return layer(x)


def bottleneck(x: KerasTensor, channels: int, stride: int, *, name: str) -> KerasTensor:
    """1 x 1 narrows, 3 x 3 looks around, 1 x 1 widens; the input is added.

    The 3 x 3, the costly one, works on a quarter of the channels. It also has the
    stride: a strided 1 x 1 would never look at three pixels of four.
    """
    out_channels = 4 * channels
    y = conv(x, channels, 1, name=f"{name}_conv1")
    y = norm(y, name=f"{name}_norm1")
    y = layers.ReLU(name=f"{name}_relu1")(y)
    y = conv(y, channels, 3, stride, name=f"{name}_conv2")
    y = norm(y, name=f"{name}_norm2")
    y = layers.ReLU(name=f"{name}_relu2")(y)
    y = conv(y, out_channels, 1, name=f"{name}_conv3")
    y = norm(y, name=f"{name}_norm3")
    if stride != 1 or x.shape[-1] != out_channels:
        x = conv(x, out_channels, 1, stride, name=f"{name}_shortcut_conv")
        x = norm(x, name=f"{name}_shortcut_norm")
    y = layers.Add(name=f"{name}_add")([y, x])
    return layers.ReLU(name=f"{name}_relu3")(y)


def stage(
    x: KerasTensor, channels: int, depth: int, stride: int = 1, *, name: str
) -> KerasTensor:
    """`depth` blocks: the first widens and strides."""
    for number in range(1, depth + 1):
        x = bottleneck(x, channels, stride, name=f"{name}_block{number}")
        stride = 1
    return x


def resnet(height: int | None = None, width: int | None = None) -> keras.Model:
    """Images (batch, height, width, 3) to logits."""
    images = keras.Input((height, width, 3))
    x = conv(images, 64, 7, stride=2, padding=3, name="stem_conv")
    x = norm(x, name="stem_norm")
    x = layers.ReLU(name="stem_relu")(x)
    x = layers.MaxPooling2D(3, 2, "same", name="stem_pool")(x)  # 56 x 56 x 64
    x = stage(x, 64, depth=3, name="stage1")  # 56 x 56 x 256
    x = stage(x, 128, depth=4, stride=2, name="stage2")  # 28 x 28 x 512
    x = stage(x, 256, depth=6, stride=2, name="stage3")  # 14 x 14 x 1024
    x = stage(x, 512, depth=3, stride=2, name="stage4")  # 7 x 7 x 2048
    x = layers.GlobalAveragePooling2D(name="head_pool")(x)
    initial = initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
    bound = 2048**-0.5
    layer = layers.Dense(
        1000,
        kernel_initializer=initial,
        bias_initializer=initializers.RandomUniform(-bound, bound),
        name="head_linear",
    )
    x = layer(x)  # 1000
    model = keras.Model(images, x, name="flax_resnet50")
    for layer in model.layers:  # each block starts as its shortcut
        if layer.name.endswith("_norm3"):
            layer.gamma.assign(ops.zeros_like(layer.gamma))
    return model


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


if __name__ == "__main__":
    model = resnet(224, 224)
    model.summary()
    count = sum(math.prod(variable.shape) for variable in model.trainable_variables)
    assert count == 25_557_032
