"""The program from which the recipe `fashion-adam` comes, in plain PyTorch, without this project.

Dive into Deep Learning's ResNet-18 (sections 8.6.2 to 8.6.4) on Fashion-MNIST at 28 x 28: Adam, two epochs, batches
of 256, initial weights and order as PyTorch draws them. Prints one line of JSON per epoch.
"""

from __future__ import annotations

import gzip
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1)
        self.conv3 = nn.Conv2d(before, after, 1, stride) if stride > 1 else None
        self.norm1, self.norm2 = nn.BatchNorm2d(after), nn.BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return functional.relu(y + (x if self.conv3 is None else self.conv3(x)))


def network() -> nn.Module:
    layers = [nn.Conv2d(1, 64, 7, 2, 3), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    before = 64
    for stage, after in enumerate((64, 128, 256, 512)):
        layers += [Block(before, after, 2 if stage else 1), Block(after, after, 1)]
        before = after
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def read(folder: Path, part: str) -> tuple[Tensor, Tensor]:
    images = np.frombuffer(gzip.decompress((folder / f"{part}-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    labels = np.frombuffer(gzip.decompress((folder / f"{part}-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    return torch.tensor(images.reshape(-1, 1, 28, 28)), torch.tensor(labels, dtype=torch.long)


def main(folder: Path, seed: int, epochs: int) -> None:
    torch.manual_seed(seed)
    (images, labels), (test_images, test_labels) = read(folder, "train"), read(folder, "t10k")
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    for epoch in range(epochs):
        begin, total, right = time.perf_counter(), 0.0, 0
        model.train()
        for index in torch.randperm(len(labels)).split(256):
            logits = model(images[index].float() / 255)
            loss = functional.cross_entropy(logits, labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(index)
            right += int((logits.argmax(1) == labels[index]).sum())
        seconds = time.perf_counter() - begin
        model.eval()
        with torch.inference_mode():
            parts = [model(part.float() / 255).argmax(1) for part in test_images.split(500)]
        accuracy = float((torch.cat(parts) == test_labels).float().mean())
        record = {
            "epoch": epoch + 1,
            "loss": total / len(labels),
            "accuracy": right / len(labels),
            "test_accuracy": accuracy,
            "seconds": seconds,
        }
        print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
