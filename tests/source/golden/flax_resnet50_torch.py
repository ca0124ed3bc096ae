"""flax_resnet50 in PyTorch: 224 x 224 x 3 to 1000 classes.

He et al. 2015, Deep Residual Learning for Image Recognition, arXiv:1512.03385.
Printed by `resnet source flax_resnet50 --backend torch` (resnet-core 0.0.0, layer tree
9cbaddb65145); yours to edit.
Weights: model.load_state_dict(safetensors.torch.load_file("weights.safetensors"))
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


def pad_same(conv: nn.Conv2d, inputs: tuple[Tensor]) -> Tensor:
    """TensorFlow's "same": where it is uneven, more is padded behind the map."""
    x, kernel, stride = inputs[0], conv.kernel_size[0], conv.stride[0]
    rows, columns = (max(kernel - 1 - (n - 1) % stride, 0) for n in x.shape[2:])
    sides = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
    return functional.pad(x, sides)


def conv(
    in_channels: int,
    channels: int,
    kernel: int,
    stride: int = 1,
    padding: int | str = "same",
) -> nn.Conv2d:
    """No bias: the norm behind it subtracts the mean, and with it any constant."""
    layer = nn.Conv2d(
        in_channels,
        channels,
        kernel,
        stride,
        padding=0 if padding == "same" else padding,
        bias=False,
    )
    if padding == "same":
        layer.register_forward_pre_hook(pad_same)
    return layer


def norm(channels: int) -> nn.BatchNorm2d:
    """Momentum weighs the new batch: 1 - 0.9; the running variance is unbiased."""
    return nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1)


class SameMaxPool2d(nn.Module):
    """TensorFlow's "same": an even side is padded behind the image only."""

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        x = functional.pad(x, (width % 2, 1, height % 2, 1), value=-torch.inf)
        return functional.max_pool2d(x, 3, 2)


class Bottleneck(nn.Module):
    """1 x 1 narrows, 3 x 3 looks around, 1 x 1 widens; the input is added.

    The 3 x 3, the costly one, works on a quarter of the channels. It also has the
    stride: a strided 1 x 1 would never look at three pixels of four.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        out_channels = 4 * channels
        self.conv1 = conv(in_channels, channels, 1)
        self.norm1 = norm(channels)
        self.conv2 = conv(channels, channels, 3, stride)
        self.norm2 = norm(channels)
        self.conv3 = conv(channels, out_channels, 1)
        self.norm3 = norm(out_channels)
        self.shortcut = nn.Sequential()  # empty: the identity
        if stride != 1 or in_channels != out_channels:
            self.shortcut.conv = conv(in_channels, out_channels, 1, stride)
            self.shortcut.norm = norm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm1(self.conv1(x)))
        y = torch.relu(self.norm2(self.conv2(y)))
        y = self.norm3(self.conv3(y))
        return torch.relu(y + self.shortcut(x))


def stage(
    in_channels: int, channels: int, depth: int, stride: int = 1
) -> nn.Sequential:
    """`depth` blocks: the first widens and strides."""
    blocks = nn.Sequential()
    for number in range(1, depth + 1):
        blocks.add_module(f"block{number}", Bottleneck(in_channels, channels, stride))
        in_channels, stride = 4 * channels, 1
    return blocks


class ResNet(nn.Module):
    """Images (batch, 3, height, width) to logits."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential()
        self.stem.conv = conv(3, 64, 7, stride=2, padding=3)
        self.stem.norm = norm(64)
        self.stem.relu = nn.ReLU()
        self.stem.pool = SameMaxPool2d()
        self.stage1 = stage(64, 64, depth=3)
        self.stage2 = stage(256, 128, depth=4, stride=2)
        self.stage3 = stage(512, 256, depth=6, stride=2)
        self.stage4 = stage(1024, 512, depth=3, stride=2)
        self.head = nn.Sequential()
        self.head.pool = nn.AdaptiveAvgPool2d(1)
        self.head.flatten = nn.Flatten()
        self.head.linear = nn.Linear(2048, 1000)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
        # Each block starts as its shortcut.
        for module in self.modules():
            if isinstance(module, Bottleneck):
                nn.init.zeros_(module.norm3.weight)

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
    assert sum(p.numel() for p in model.parameters()) == 25_557_032
