"""resnet18 in PyTorch: 224 x 224 x 3 to 1000 classes.

He et al. 2015, Deep Residual Learning for Image Recognition, arXiv:1512.03385.
Printed by `resnet source resnet18 --backend torch` (resnet-core 0.0.0, layer tree
502c2db646c7); yours to edit.
Weights: model.load_state_dict(safetensors.torch.load_file("weights.safetensors"))
"""

import torch
from torch import Tensor, nn


def conv(in_channels: int, channels: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """No bias: the norm behind it subtracts the mean, and with it any constant."""
    padding = kernel // 2  # keeps the size at stride 1
    return nn.Conv2d(in_channels, channels, kernel, stride, padding, bias=False)


def norm(channels: int) -> nn.BatchNorm2d:
    """Momentum weighs the new batch: 1 - 0.9; the running variance is unbiased."""
    return nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1)


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions; the input is added to what they give."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv(in_channels, channels, 3, stride)
        self.norm1 = norm(channels)
        self.conv2 = conv(channels, channels, 3)
        self.norm2 = norm(channels)
        self.shortcut = nn.Sequential()  # empty: the identity
        if stride != 1 or in_channels != channels:
            self.shortcut.conv = conv(in_channels, channels, 1, stride)
            self.shortcut.norm = norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return torch.relu(y + self.shortcut(x))


def stage(
    in_channels: int, channels: int, depth: int, stride: int = 1
) -> nn.Sequential:
    """`depth` blocks: the first widens and strides."""
    blocks = nn.Sequential()
    for number in range(1, depth + 1):
        blocks.add_module(f"block{number}", BasicBlock(in_channels, channels, stride))
        in_channels, stride = channels, 1
    return blocks


class ResNet(nn.Module):
    """Images (batch, 3, height, width) to logits."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential()
        self.stem.conv = conv(3, 64, 7, stride=2)
        self.stem.norm = norm(64)
        self.stem.relu = nn.ReLU()
        self.stem.pool = nn.MaxPool2d(3, 2, padding=1)
        self.stage1 = stage(64, 64, depth=2)
        self.stage2 = stage(64, 128, depth=2, stride=2)
        self.stage3 = stage(128, 256, depth=2, stride=2)
        self.stage4 = stage(256, 512, depth=2, stride=2)
        self.head = nn.Sequential()
        self.head.pool = nn.AdaptiveAvgPool2d(1)
        self.head.flatten = nn.Flatten()
        self.head.linear = nn.Linear(512, 1000)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)  # 64 x 56 x 56
        x = self.stage1(x)  # 64 x 56 x 56
        x = self.stage2(x)  # 128 x 28 x 28
        x = self.stage3(x)  # 256 x 14 x 14
        x = self.stage4(x)  # 512 x 7 x 7
        return self.head(x)  # 1000


if __name__ == "__main__":
    model = ResNet().eval()
    x = torch.zeros(1, 3, 224, 224)
    for name, part in model.named_children():
        x = part(x)
        print(f"{name:8}{tuple(x.shape[1:])}")
    assert sum(p.numel() for p in model.parameters()) == 11_689_512
