"""Two ResNets written out from their descriptions, as plain PyTorch. Imported in the PyTorch worker only.

`D2L` follows the text and figures of Dive into Deep Learning, section 8.6; `Paper50` is the 50-layer column of
table 1 of He et al. 2015 (arXiv:1512.03385), with its projections (option B) and its stride at the start of
conv3_1, conv4_1 and conv5_1. The paper leaves the max-pool's padding open; one pixel is what everyone chose.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from referees import draw
from resnet_core.workers.child import Arrays


class D2LBlock(nn.Module):
    """Two 3x3 convolutions with biases; a bare 1x1 convolution where width or size changes."""

    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, out, kernel_size=3, padding=1, stride=stride)
        self.conv2 = nn.Conv2d(out, out, kernel_size=3, padding=1)
        self.conv3 = nn.Conv2d(width, out, kernel_size=1, stride=stride) if stride > 1 else None
        self.bn1, self.bn2 = nn.BatchNorm2d(out), nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return functional.relu(y + (x if self.conv3 is None else self.conv3(x)))


class D2L(nn.Sequential):
    """The book's ResNet-18."""

    renames = (
        (r"0\.0", "stem.conv"),
        (r"0\.1", "stem.norm"),
        (r"5\.2", "head.linear"),
        (r"(\d)\.(\d)\.conv3", "stage{0}.block{1}.shortcut.conv"),
        (r"(\d)\.(\d)\.conv(\d)", "stage{0}.block{1}.conv{2}"),
        (r"(\d)\.(\d)\.bn(\d)", "stage{0}.block{1}.norm{2}"),
    )
    last_norm = "bn2"

    def __init__(self, classes: int, channels: int) -> None:
        first = nn.Conv2d(channels, 64, kernel_size=7, stride=2, padding=3)
        root = nn.Sequential(first, nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1))
        stages = [nn.Sequential(D2LBlock(64, 64, 1), D2LBlock(64, 64, 1))]
        for width in (64, 128, 256):
            stages.append(nn.Sequential(D2LBlock(width, 2 * width, 2), D2LBlock(2 * width, 2 * width, 1)))
        top = nn.Sequential(nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Linear(512, classes))
        super().__init__(root, *stages, top)


class PaperBlock(nn.Module):
    """1x1 (with the stride), 3x3, 1x1, each with a norm; a projection in the first block of a stage."""

    def __init__(self, width: int, inner: int, stride: int, projects: bool) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(width, inner, 1, stride=stride, bias=False)
        self.reduce_bn = nn.BatchNorm2d(inner)
        self.spatial = nn.Conv2d(inner, inner, 3, padding=1, bias=False)
        self.spatial_bn = nn.BatchNorm2d(inner)
        self.expand = nn.Conv2d(inner, 4 * inner, 1, bias=False)
        self.expand_bn = nn.BatchNorm2d(4 * inner)
        self.projection = nn.Conv2d(width, 4 * inner, 1, stride=stride, bias=False) if projects else None
        self.projection_bn = nn.BatchNorm2d(4 * inner) if projects else None

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.reduce_bn(self.reduce(x)))
        y = torch.relu(self.spatial_bn(self.spatial(y)))
        y = self.expand_bn(self.expand(y))
        if self.projection is not None and self.projection_bn is not None:
            x = self.projection_bn(self.projection(x))
        return torch.relu(y + x)


class Paper50(nn.Sequential):
    """ResNet-50 as published in 2015."""

    renames = (
        (r"0\.0", "stem.conv"),
        (r"0\.1", "stem.norm"),
        (r"5\.2", "head.linear"),
        (r"(\d)\.(\d)\.reduce", "stage{0}.block{1}.conv1"),
        (r"(\d)\.(\d)\.spatial", "stage{0}.block{1}.conv2"),
        (r"(\d)\.(\d)\.expand", "stage{0}.block{1}.conv3"),
        (r"(\d)\.(\d)\.projection", "stage{0}.block{1}.shortcut.conv"),
        (r"(\d)\.(\d)\.reduce_bn", "stage{0}.block{1}.norm1"),
        (r"(\d)\.(\d)\.spatial_bn", "stage{0}.block{1}.norm2"),
        (r"(\d)\.(\d)\.expand_bn", "stage{0}.block{1}.norm3"),
        (r"(\d)\.(\d)\.projection_bn", "stage{0}.block{1}.shortcut.norm"),
    )
    last_norm = "expand_bn"

    def __init__(self, classes: int, channels: int) -> None:
        first = nn.Conv2d(channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
        root = nn.Sequential(first, nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1))
        stages, width = [], 64
        for inner, depth, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
            blocks = [PaperBlock(width, inner, stride, projects=True)]
            blocks += [PaperBlock(4 * inner, inner, 1, projects=False) for _ in range(depth - 1)]
            stages.append(nn.Sequential(*blocks))
            width = 4 * inner
        top = nn.Sequential(nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Linear(width, classes))
        super().__init__(root, *stages, top)


MODELS = {"D2L": D2L, "Paper50": Paper50}
TAPS = ("stem", "stage1", "stage2", "stage3", "stage4", "logits")


def record(session: Any, arrays: Arrays, *, model: str, classes: int, seed: int) -> tuple[Any, Arrays]:
    """Draw every weight, run on `arrays["images"]` in float64; answer the renames, `weights/…` and `taps/…`."""
    images = arrays["images"]
    network = MODELS[model](classes, images.shape[-1]).double().eval()
    blocks = sum(isinstance(module, D2LBlock | PaperBlock) for module in network.modules())
    state = {}
    for path, module in network.named_modules():
        norm = isinstance(module, nn.BatchNorm2d)
        tensors = {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}
        for leaf, tensor in tensors.items():
            if leaf == "num_batches_tracked":
                continue
            kind = {"weight": "gamma" if norm else "kernel", "bias": "beta" if norm else "bias"}.get(leaf)
            kind = kind or {"running_mean": "mean", "running_var": "variance"}[leaf]
            damp = draw.CLASSIFIER_DAMP if isinstance(module, nn.Linear) and leaf == "weight" else 1.0
            if path.endswith(network.last_norm) and kind in ("gamma", "beta"):
                damp = blocks**-0.5
            name = f"{path}.{leaf}"
            state[name] = draw.draw(name, tuple(tensor.shape), kind, seed, damp, "torch")
            with torch.no_grad():
                tensor.copy_(torch.from_numpy(state[name]))
    answer = {f"weights/{name}": value for name, value in state.items()}
    x = torch.from_numpy(images).double().permute(0, 3, 1, 2)
    with torch.inference_mode():
        for tap, part in zip(TAPS, network, strict=True):
            x = part(x)
            answer[f"taps/{tap}"] = np.ascontiguousarray(x.movedim(1, -1).numpy())
    return network.renames, answer
