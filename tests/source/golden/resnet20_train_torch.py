"""resnet20 in PyTorch: 32 x 32 x 3 to 10 classes.

He et al. 2015, Deep Residual Learning for Image Recognition, arXiv:1512.03385.
Printed by `resnet source resnet20 --backend torch --train --recipe cifar-2015`
(resnet-core 0.0.0, layer tree 1af6f47cd023); yours to edit.
Weights: model.load_state_dict(safetensors.torch.load_file("weights.safetensors"))
"""

from itertools import chain, islice, repeat

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader


def conv(in_channels: int, channels: int, stride: int = 1) -> nn.Conv2d:
    """No bias: the norm behind it subtracts the mean, and with it any constant."""
    return nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)


def norm(channels: int) -> nn.BatchNorm2d:
    """Momentum weighs the new batch: 1 - 0.9; the running variance is unbiased."""
    return nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1)


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions; the input is added to what they give.

    The shortcut (option A) skips pixels and adds zero channels: it has no parameters.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv(in_channels, channels, stride)
        self.norm1 = norm(channels)
        self.conv2 = conv(channels, channels)
        self.norm2 = norm(channels)
        self.shortcut = nn.Sequential()  # empty: the identity
        if stride != 1:
            margin = (channels - in_channels) // 2
            # picks every stride-th pixel
            self.shortcut.subsample = nn.MaxPool2d(1, stride)
            # channels, not pixels
            self.shortcut.pad = nn.ZeroPad3d((0, 0, 0, 0, margin, margin))

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
        self.stem.conv = conv(3, 16)
        self.stem.norm = norm(16)
        self.stem.relu = nn.ReLU()
        self.stage1 = stage(16, 16, depth=3)
        self.stage2 = stage(16, 32, depth=3, stride=2)
        self.stage3 = stage(32, 64, depth=3, stride=2)
        self.head = nn.Sequential()
        self.head.pool = nn.AdaptiveAvgPool2d(1)
        self.head.flatten = nn.Flatten()
        self.head.linear = nn.Linear(64, 10)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)  # 16 x 32 x 32
        x = self.stage1(x)  # 16 x 32 x 32
        x = self.stage2(x)  # 32 x 16 x 16
        x = self.stage3(x)  # 64 x 8 x 8
        return self.head(x)  # 10


def learning_rate(step: int) -> float:
    """Starts at 0.1, then drops to a tenth at steps 32,000 and 48,000."""
    drops = sum(step >= milestone for milestone in (32_000, 48_000))
    return 0.1 * 0.1**drops


def make_optimizer(model: ResNet) -> torch.optim.SGD:
    """SGD with a momentum, and a decay of 1e-4.

    Everything that is trained decays, biases, scales and shifts too.
    """
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)


def train_step(
    model: ResNet, optimizer: torch.optim.SGD, images: Tensor, labels: Tensor
) -> Tensor:
    """One step; the loss is from before it."""
    loss = functional.cross_entropy(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def train(model: ResNet, data: DataLoader[tuple[Tensor, Tensor]]) -> None:
    """64,000 steps in batches of 128, shuffled anew every epoch.

    The recipe has its pictures less the mean training picture, cropped at random from a
    border of four zeros, and mirrored half of the time.
    """
    optimizer = make_optimizer(model.train())
    batches = islice(chain.from_iterable(repeat(data)), 64_000)
    for step, (images, labels) in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        loss = train_step(model, optimizer, images, labels)
        print(f"step {step}: loss {loss:.4f}")


if __name__ == "__main__":
    model = ResNet().eval()
    x = torch.zeros(1, 3, 32, 32)
    for name, part in model.named_children():
        x = part(x)
        print(f"{name:8}{tuple(x.shape[1:])}")
    assert sum(p.numel() for p in model.parameters()) == 269_722
