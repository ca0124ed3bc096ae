"""resnet50 in NumPy: 224 x 224 x 3 to 1000 classes.

He et al. 2016, Identity Mappings in Deep Residual Networks, arXiv:1603.05027.
Wu and He 2018, Group Normalization, arXiv:1803.08494.
Qiao et al. 2019, Weight Standardization, arXiv:1903.10520.
Printed by `resnet source resnet50 --backend numpy --set stem_pool_padding=zeros --set
preactivation=true --set norm=group --set standardize_weights=true --set
zero_init_residual=true` (resnet-core 0.0.0, layer tree a3bc5bad15e4); yours to edit.
Inference only.
"""

import json
import sys
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Array = np.ndarray
Weights = dict[str, np.ndarray]


def conv(x: Array, weights: Weights, name: str, stride: int = 1) -> Array:
    weight = weights[f"{name}.weight"]  # (out, in, height, width)
    kernel = weight.shape[2]
    # Kernels of mean 0 and variance 1; 1e-8, as they vary far less than maps.
    mean = weight.mean((1, 2, 3), keepdims=True)
    variance = weight.var((1, 2, 3), keepdims=True)
    weight = (weight - mean) / np.sqrt(variance + 1e-8)
    padding = kernel // 2  # keeps the size at stride 1
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    x = sliding_window_view(x, (kernel, kernel), (1, 2))[:, ::stride, ::stride]
    return np.einsum("bhwcij,ocij->bhwo", x, weight, optimize=True)


def norm(x: Array, weights: Weights, name: str) -> Array:
    """Over the positions and the channels of a group, in each image."""
    groups = x.reshape(*x.shape[:3], 32, -1)
    mean = groups.mean((1, 2, 4), keepdims=True)
    variance = groups.var((1, 2, 4), keepdims=True)
    x = ((groups - mean) / np.sqrt(variance + 1e-5)).reshape(x.shape)
    return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def pre_act_bottleneck(
    x: Array, weights: Weights, name: str, channels: int, stride: int
) -> Array:
    """1 x 1 narrows, 3 x 3 looks around, 1 x 1 widens; the input is added.

    The 3 x 3, the costly one, works on a quarter of the channels. It also has the
    stride: a strided 1 x 1 would never look at three pixels of four. Norm and relu come
    before each convolution, so that the sum reaches the next block untouched. A
    projection reads the activated x, everything else x itself.
    """
    out_channels = 4 * channels
    y = norm(x, weights, f"{name}.norm1")
    y = np.maximum(y, 0)
    if stride != 1 or x.shape[-1] != out_channels:
        x = conv(y, weights, f"{name}.shortcut.conv", stride)
    y = conv(y, weights, f"{name}.conv1")
    y = norm(y, weights, f"{name}.norm2")
    y = np.maximum(y, 0)
    y = conv(y, weights, f"{name}.conv2", stride)
    y = norm(y, weights, f"{name}.norm3")
    y = np.maximum(y, 0)
    y = conv(y, weights, f"{name}.conv3")
    return y + x


def stage(
    x: Array, weights: Weights, name: str, channels: int, depth: int, stride: int = 1
) -> Array:
    """`depth` blocks: the first widens and strides."""
    for number in range(1, depth + 1):
        x = pre_act_bottleneck(x, weights, f"{name}.block{number}", channels, stride)
        stride = 1
    return x


def resnet(x: Array, weights: Weights) -> Array:
    """Images (batch, height, width, 3) to logits."""
    x = conv(x, weights, "stem.conv", stride=2)
    x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = sliding_window_view(x, (3, 3), (1, 2))[:, ::2, ::2]
    x = windows.max((-2, -1))  # 56 x 56 x 64
    x = stage(x, weights, "stage1", 64, depth=3)  # 56 x 56 x 256
    x = stage(x, weights, "stage2", 128, depth=4, stride=2)  # 28 x 28 x 512
    x = stage(x, weights, "stage3", 256, depth=6, stride=2)  # 14 x 14 x 1024
    x = stage(x, weights, "stage4", 512, depth=3, stride=2)  # 7 x 7 x 2048
    x = norm(x, weights, "head.norm")
    x = np.maximum(x, 0)
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
    assert sum(weight.size for weight in trained) == 25_549_352
