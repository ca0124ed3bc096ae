"""resnet50 in Keras: 224 x 224 x 3 to 1000 classes.

He et al. 2015, Deep Residual Learning for Image Recognition, arXiv:1512.03385.
He et al. 2018, Bag of Tricks for Image Classification, arXiv:1812.01187.
Hu et al. 2017, Squeeze-and-Excitation Networks, arXiv:1709.01507.
Printed by `resnet source resnet50 --backend keras --set stem_type=deep --set
stem_kernel=3 --set shortcut_pool=average --set attention=se` (resnet-core 0.0.0, layer
tree 6bffe4bb661f); yours to edit.
"""

import json
import math
from pathlib import Path

import keras
import numpy as np
from keras import KerasTensor, initializers, layers, ops


def conv(
    x: KerasTensor, channels: int, kernel: int, stride: int = 1, *, name: str
) -> KerasTensor:
    """Pads both sides alike; "same" would pad a strided map behind the image."""
    if stride > 1:
        x = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
    initial = initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
    layer = layers.Conv2D(
        channels,
        kernel,
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


def linear(x: KerasTensor, channels: int, *, name: str) -> KerasTensor:
    initial = initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
    bound = x.shape[-1] ** -0.5
    layer = layers.Dense(
        channels,
        kernel_initializer=initial,
        bias_initializer=initializers.RandomUniform(-bound, bound),
        name=name,
    )
    return layer(x)


def squeeze_excitation(x: KerasTensor, *, name: str) -> KerasTensor:
    """Squeezes the map to a vector, and excites: one factor for each channel."""
    channels = x.shape[-1]
    reduced = channels // 16
    y = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_pool")(x)
    y = linear(y, reduced, name=f"{name}_reduce")
    y = layers.ReLU(name=f"{name}_relu")(y)
    y = linear(y, channels, name=f"{name}_expand")
    y = layers.Activation("sigmoid", name=f"{name}_sigmoid")(y)
    return layers.Multiply(name=f"{name}_multiply")([x, y])


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
    y = squeeze_excitation(y, name=f"{name}_se")
    if stride != 1 or x.shape[-1] != out_channels:
        if stride != 1:
            # at the edge, the mean of what is inside
            layer = layers.AveragePooling2D(
                2, stride, "same", name=f"{name}_shortcut_pool"
            )
            x = layer(x)
        x = conv(x, out_channels, 1, name=f"{name}_shortcut_conv")
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
    x = conv(images, 32, 3, stride=2, name="stem_conv1")
    x = norm(x, name="stem_norm1")
    x = layers.ReLU(name="stem_relu1")(x)
    x = conv(x, 32, 3, name="stem_conv2")
    x = norm(x, name="stem_norm2")
    x = layers.ReLU(name="stem_relu2")(x)
    x = conv(x, 64, 3, name="stem_conv3")
    x = norm(x, name="stem_norm3")
    x = layers.ReLU(name="stem_relu3")(x)
    x = ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-math.inf)
    x = layers.MaxPooling2D(3, 2, name="stem_pool")(x)  # 56 x 56 x 64
    x = stage(x, 64, depth=3, name="stage1")  # 56 x 56 x 256
    x = stage(x, 128, depth=4, stride=2, name="stage2")  # 28 x 28 x 512
    x = stage(x, 256, depth=6, stride=2, name="stage3")  # 14 x 14 x 1024
    x = stage(x, 512, depth=3, stride=2, name="stage4")  # 7 x 7 x 2048
    x = layers.GlobalAveragePooling2D(name="head_pool")(x)
    x = linear(x, 1000, name="head_linear")  # 1000
    return keras.Model(images, x, name="resnet50")


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
    assert count == 28_107_256
