"""PyTorch: eager, inference mode; torch.optim.SGD. On a GPU, where the model is, images and labels are there too."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from usage import LEARNING_RATE, MOMENTUM


def forward(model: nn.Module, images: np.ndarray) -> Callable[[], np.ndarray]:
    inputs = _channels_first(images).to(_device(model))
    model.eval()

    def run() -> np.ndarray:
        with torch.inference_mode():
            return model(inputs).cpu().numpy()

    return run


def train_step(model: nn.Module, images: np.ndarray, labels: np.ndarray) -> Callable[[], float]:
    inputs, targets = _channels_first(images).to(_device(model)), torch.from_numpy(labels).to(_device(model))
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    model.train()

    def run() -> float:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()
        return loss.item()

    return run


def compile_for_inference(model: nn.Module) -> None:
    """Inductor, whose constants are the weights; on a GPU with a CUDA graph."""
    model.eval().compile(options={"freezing": True, "triton.cudagraphs": _device(model).type == "cuda"})


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def _channels_first(images: np.ndarray) -> torch.Tensor:
    # A copy, with the strides of a DataLoader's batches: a view of one channel would be treated as channels_last, which
    # is a different computation (faster, and its norms sum in plain float32).
    return torch.from_numpy(np.array(images.transpose(0, 3, 1, 2), order="C"))
