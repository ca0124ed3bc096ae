"""resnet50 in PyTorch: 224 x 224 x 3 to 1000 classes.

He et al. 2016, Identity Mappings in Deep Residual Networks, arXiv:1603.05027.
Wu and He 2018, Group Normalization, arXiv:1803.08494.
Qiao et al. 2019, Weight Standardization, arXiv:1903.10520.
Printed by `resnet source resnet50 --backend torch --set stem_pool_padding=zeros --set
preactivation=true --set norm=group --set standardize_weights=true --set
zero_init_residual=true` (resnet-core 0.0.0, layer tree a3bc5bad15e4); yours to edit.
Weights: model.load_state_dict(safetensors.torch.load_file("weights.safetensors"))
"""

import torch
from torch import Tensor, nn


class StandardizedConv2d(nn.Conv2d):
    """Kernels of mean 0 and variance 1; 1e-8, as they vary far less than maps."""

    def forward(self, x: Tensor) -> Tensor:
        axes = (1, 2, 3)
        variance, mean = torch.var_mean(self.weight, axes, correction=0, keepdim=True)
        weight = (self.weight - mean) / torch.sqrt(variance + 1e-8)
        return self._conv_forward(x, weight, self.bias)


def conv(in_channels: int, channels: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    padding = kernel // 2  # keeps the size at stride 1
    return StandardizedConv2d(
        in_channels, channels, kernel, stride, padding, bias=False
    )


def norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(32, channels, eps=1e-5)


class PreActBottleneck(nn.Module):
    """1 x 1 narrows, 3 x 3 looks around, 1 x 1 widens; the input is added.

    The 3 x 3, the costly one, works on a quarter of the channels. It also has the
    stride: a strided 1 x 1 would never look at three pixels of four. Norm and relu come
    before each convolution, so that the sum reaches the next block untouched. A
    projection reads the activated x, everything else x itself.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        out_channels = 4 * channels
        self.norm1 = norm(in_channels)
        self.conv1 = conv(in_channels, channels, 1)
        self.norm2 = norm(channels)
        self.conv2 = conv(channels, channels, 3, stride)
        self.norm3 = norm(channels)
        self.conv3 = conv(channels, out_channels, 1)
        self.projects = stride != 1 or in_channels != out_channels
        self.shortcut = nn.Sequential()  # empty: the identity
        if self.projects:
            self.shortcut.conv = conv(in_channels, out_channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm1(x))
        shortcut = self.shortcut(y if self.projects else x)
        y = self.conv1(y)
        y = self.conv2(torch.relu(self.norm2(y)))
        y = self.conv3(torch.relu(self.norm3(y)))
        return y + shortcut


def stage(
    in_channels: int, channels: int, depth: int, stride: int = 1
) -> nn.Sequential:
    """`depth` blocks: the first widens and strides."""
    blocks = nn.Sequential()
    for number in range(1, depth + 1):
        block = PreActBottleneck(in_channels, channels, stride)
        blocks.add_module(f"block{number}", block)
        in_channels, stride = 4 * channels, 1
    return blocks


class ResNet(nn.Module):
    """Images (batch, 3, height, width) to logits."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential()
        self.stem.conv = conv(3, 64, 7, stride=2)
        self.stem.pad = nn.ZeroPad2d(1)  # zeros, which win over negative values
        self.stem.pool = nn.MaxPool2d(3, 2)
        self.stage1 = stage(64, 64, depth=3)
        self.stage2 = stage(256, 128, depth=4, stride=2)
        self.stage3 = stage(512, 256, depth=6, stride=2)
        self.stage4 = stage(1024, 512, depth=3, stride=2)
        self.head = nn.Sequential()
        self.head.norm = norm(2048)
        self.head.relu = nn.ReLU()
        self.head.pool = nn.AdaptiveAvgPool2d(1)
        self.head.flatten = nn.Flatten()
        self.head.linear = nn.Linear(2048, 1000)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
        # Each block starts as its shortcut.
        for module in self.modules():
            if isinstance(module, PreActBottleneck):
                nn.init.zeros_(module.conv3.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)  # 64 x 56 x 56
        x = self.stage1(x)  # 256 x 56 x 56
        x = self.stage2(x)  # 512 x 28 x 28
        x = self.stage3(x)  # 1024 x 14 x 14
        x = self.stage4(x)  # 2048 x 7 x 7
        return self.head(x)  # 1000


if __name__ == "__main__":
    model = ResNet().eval()
    x = torch.zeros(1, 3, 224, 224)
    for name, part in model.named_children():
        x = part(x)
        print(f"{name:8}{tuple(x.shape[1:])}")
    assert sum(p.numel() for p in model.parameters()) == 25_549_352
