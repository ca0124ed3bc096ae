"""resnet_v2_50 in Keras: 224 x 224 x 3 to 1000 classes.

He et al. 2016, Identity Mappings in Deep Residual Networks, arXiv:1603.05027.
Printed by `resnet source resnet_v2_50 --backend keras` (resnet-core 0.0.0, layer tree
ed72915b5334); yours to edit.
"""

import json
import math
from pathlib import Path

import keras
import numpy as np
from keras import KerasTensor, initializers, layers


def conv(
    x: KerasTensor,
    channels: int,
    kernel: int,
    stride: int = 1,
    bias: bool = False,
    *,
    name: str,
) -> KerasTensor:
    """Pads both sides alike; "same" would pad a strided map behind the image."""
    if stride > 1:
        x = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
    deviation = (2.6 / (kernel**2 * x.shape[-1])) ** 0.5  # 1.3 * 2 / fan in
    layer = layers.Conv2D(
        channels,
        kernel,
        strides=stride,
        padding="same" if stride == 1 else "valid",
        use_bias=bias,
        kernel_initializer=initializers.TruncatedNormal(stddev=deviation),
        name=name,
    )
    return layer(x)


def norm(x: KerasTensor, *, name: str) -> KerasTensor:
    """Momentum weighs the old value; the running variance is biased."""
    layer = layers.BatchNormalization(momentum=0.997, epsilon=1e-5, name=name)
    return layer(x)


def pre_act_bottleneck(
    x: KerasTensor, channels: int, stride: int, *, name: str
) -> KerasTensor:
    """1 x 1 narrows, 3 x 3 looks around, 1 x 1 widens; the input is added.

    The 3 x 3, the costly one, works on a quarter of the channels. It also has the
    stride: a strided 1 x 1 would never look at three pixels of four. Norm and relu come
    before each convolution, so that the sum reaches the next block untouched. A
    projection reads the activated x, everything else x itself.
    """
    out_channels = 4 * channels
    y = norm(x, name=f"{name}_norm1")
    y = layers.ReLU(name=f"{name}_relu1")(y)
    if x.shape[-1] != out_channels:
        x = conv(y, out_channels, 1, stride, bias=True, name=f"{name}_shortcut_conv")
    elif stride != 1:
        # picks every stride-th pixel
        x = layers.MaxPooling2D(1, stride, name=f"{name}_shortcut_subsample")(x)
    y = conv(y, channels, 1, name=f"{name}_conv1")
    y = norm(y, name=f"{name}_norm2")
    y = layers.ReLU(name=f"{name}_relu2")(y)
    y = conv(y, channels, 3, stride, name=f"{name}_conv2")
    y = norm(y, name=f"{name}_norm3")
    y = layers.ReLU(name=f"{name}_relu3")(y)
    y = conv(y, out_channels, 1, bias=True, name=f"{name}_conv3")
    return layers.Add(name=f"{name}_add")([y, x])


def stage(
    x: KerasTensor, channels: int, depth: int, stride: int = 1, *, name: str
) -> KerasTensor:
    """`depth` blocks: the first widens, the last strides, as in TF-slim."""
    for number in range(1, depth + 1):
        block_stride = stride if number == depth else 1
        x = pre_act_bottleneck(x, channels, block_stride, name=f"{name}_block{number}")
    return x


def resnet(height: int | None = None, width: int | None = None) -> keras.Model:
    """Images (batch, height, width, 3) to logits."""
    images = keras.Input((height, width, 3))
    x = conv(images, 64, 7, stride=2, bias=True, name="stem_conv")
    x = layers.MaxPooling2D(3, 2, "same", name="stem_pool")(x)  # 56 x 56 x 64
    x = stage(x, 64, depth=3, stride=2, name="stage1")  # 28 x 28 x 256
    x = stage(x, 128, depth=4, stride=2, name="stage2")  # 14 x 14 x 512
    x = stage(x, 256, depth=6, stride=2, name="stage3")  # 7 x 7 x 1024
    x = stage(x, 512, depth=3, name="stage4")  # 7 x 7 x 2048
    x = norm(x, name="head_norm")
    x = layers.ReLU(name="head_relu")(x)
    x = layers.GlobalAveragePooling2D(name="head_pool")(x)
    deviation = (2.6 / 2048) ** 0.5  # 1.3 * 2 / fan in
    layer = layers.Dense(
        1000,
        kernel_initializer=initializers.TruncatedNormal(stddev=deviation),
        name="head_linear",
    )
    x = layer(x)  # 1000
    return keras.Model(images, x, name="resnet_v2_50")


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
    assert count == 25_568_360
