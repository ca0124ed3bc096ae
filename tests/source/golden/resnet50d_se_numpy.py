"""resnet50 in NumPy: 224 x 224 x 3 to 1000 classes.

He et al. 2015, Deep Residual Learning for Image Recognition, arXiv:1512.03385.
He et al. 2018, Bag of Tricks for Image Classification, arXiv:1812.01187.
Hu et al. 2017, Squeeze-and-Excitation Networks, arXiv:1709.01507.
Printed by `resnet source resnet50 --backend numpy --set stem_type=deep --set
stem_kernel=3 --set shortcut_pool=average --set attention=se` (resnet-core 0.0.0, layer
tree 6bffe4bb661f); yours to edit.
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
    padding = kernel // 2  # keeps the size at stride 1
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    x = sliding_window_view(x, (kernel, kernel), (1, 2))[:, ::stride, ::stride]
    return np.einsum("bhwcij,ocij->bhwo", x, weight, optimize=True)


def norm(x: Array, weights: Weights, name: str) -> Array:
    """With the statistics that training has left."""
    deviation = np.sqrt(weights[f"{name}.running_var"] + 1e-5)
    x = (x - weights[f"{name}.running_mean"]) / deviation
    return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def average_pool(x: Array, stride: int) -> Array:
    """Means of 2 x 2; at the edge, the mean of what is inside."""
    for _ in range(2):  # rows, then columns
        x = np.concatenate([x, x[:, -1:]], 1)
        x = ((x[:, :-1] + x[:, 1:]) / 2).swapaxes(1, 2)
    return x[:, ::stride, ::stride]


def sigmoid(x: Array) -> Array:
    return (1 + np.tanh(x / 2)) / 2  # 1 / (1 + exp(-x)), without overflow


def squeeze_excitation(x: Array, weights: Weights, name: str) -> Array:
    """Squeezes the map to a vector, and excites: one factor for each channel."""
    y = x.mean((1, 2))
    y = y @ weights[f"{name}.reduce.weight"].T + weights[f"{name}.reduce.bias"]
    y = np.maximum(y, 0)
    y = y @ weights[f"{name}.expand.weight"].T + weights[f"{name}.expand.bias"]
    y = sigmoid(y)
    return x * y[:, None, None]


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
    y = squeeze_excitation(y, weights, f"{name}.se")
    if stride != 1 or x.shape[-1] != out_channels:
        if stride != 1:
            x = average_pool(x, stride)
        x = conv(x, weights, f"{name}.shortcut.conv")
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
    x = conv(x, weights, "stem.conv1", stride=2)
    x = norm(x, weights, "stem.norm1")
    x = np.maximum(x, 0)
    x = conv(x, weights, "stem.conv2")
    x = norm(x, weights, "stem.norm2")
    x = np.maximum(x, 0)
    x = conv(x, weights, "stem.conv3")
    x = norm(x, weights, "stem.norm3")
    x = np.maximum(x, 0)
    x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
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
    assert sum(weight.size for weight in trained) == 28_107_256
