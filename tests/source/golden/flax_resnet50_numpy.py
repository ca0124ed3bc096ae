"""flax_resnet50 in NumPy: 224 x 224 x 3 to 1000 classes.

He et al. 2015, Deep Residual Learning for Image Recognition, arXiv:1512.03385.
Printed by `resnet source flax_resnet50 --backend numpy` (resnet-core 0.0.0, layer tree
9cbaddb65145); yours to edit.
Inference only.
"""

import json
import sys
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Array = np.ndarray
Weights = dict[str, np.ndarray]


def conv(
    x: Array, weights: Weights, name: str, stride: int = 1, padding: int | str = "same"
) -> Array:
    weight = weights[f"{name}.weight"]  # (out, in, height, width)
    kernel = weight.shape[2]
    # TensorFlow's "same": where it is uneven, more is padded behind the map.
    if padding == "same":
        rows, columns = (max(kernel - 1 - (n - 1) % stride, 0) for n in x.shape[1:3])
    else:
        rows = columns = 2 * int(padding)
    sides = (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2)
    x = np.pad(x, ((0, 0), *sides, (0, 0)))
    x = sliding_window_view(x, (kernel, kernel), (1, 2))[:, ::stride, ::stride]
    return np.einsum("bhwcij,ocij->bhwo", x, weight, optimize=True)


def norm(x: Array, weights: Weights, name: str) -> Array:
    """With the statistics that training has left."""
    deviation = np.sqrt(weights[f"{name}.running_var"] + 1e-5)
    x = (x - weights[f"{name}.running_mean"]) / deviation
    return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def bottleneck(
    x: Array, weights: Weights, name: str, channels: int, stride: int
) -> Array:
    """1 x 1 narrows, 3 x 3 looks around, 1 x 1 widens; the input is added.

    The 3 x 3, the costly one, works on a quarter of the channels. It also has the
    stride: a strided 1 x 1 would never look at three pixels of four.
    """
    out_channels = 4 * channels
    y = conv(x, weights, f"{name}.conv1")
    y = norm(y, weights, f"{name}.norm1")
    y = np.maximum(y, 0)
    y = conv(y, weights, f"{name}.conv2", stride)
    y = norm(y, weights, f"{name}.norm2")
    y = np.maximum(y, 0)
    y = conv(y, weights, f"{name}.conv3")
    y = norm(y, weights, f"{name}.norm3")
    if stride != 1 or x.shape[-1] != out_channels:
        x = conv(x, weights, f"{name}.shortcut.conv", stride)
        x = norm(x, weights, f"{name}.shortcut.norm")
    return np.maximum(y + x, 0)


def stage(
    x: Array, weights: Weights, name: str, channels: int, depth: int, stride: int = 1
) -> Array:
    """`depth` blocks: the first widens and strides."""
    for number in range(1, depth + 1):
        x = bottleneck(x, weights, f"{name}.block{number}", channels, stride)
        stride = 1
    return x


def resnet(x: Array, weights: Weights) -> Array:
    """Images (batch, height, width, 3) to logits."""
    x = conv(x, weights, "stem.conv", stride=2, padding=3)
    x = norm(x, weights, "stem.norm")
    x = np.maximum(x, 0)
    height, width = x.shape[1:3]
    x = np.pad(
        x, ((0, 0), (height % 2, 1), (width % 2, 1), (0, 0)), constant_values=-np.inf
    )
    windows = sliding_window_view(x, (3, 3), (1, 2))[:, ::2, ::2]
    x = windows.max((-2, -1))  # 56 x 56 x 64
    x = stage(x, weights, "stage1", 64, depth=3)  # 56 x 56 x 256
    x = stage(x, weights, "stage2", 128, depth=4, stride=2)  # 28 x 28 x 512
    x = stage(x, weights, "stage3", 256, depth=6, stride=2)  # 14 x 14 x 1024
    x = stage(x, weights, "stage4", 512, depth=3, stride=2)  # 7 x 7 x 2048
    x = x.mean((1, 2))
    return x @ weights["head.linear.weight"].T + weights["head.linear.bias"]  # 1000


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


if __name__ == "__main__":
    weights = read(sys.argv[1])
    for name, weight in weights.items():
        print(f"{name:40}{weight.shape}")
    images = np.zeros((1, 224, 224, 3))
    print(f"output{' ':34}{resnet(images, weights).shape}")
    trained = [w for name, w in weights.items() if ".running_" not in name]
    assert sum(weight.size for weight in trained) == 25_557_032
