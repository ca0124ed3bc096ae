"""A spec becomes a PyTorch model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from resnet_core.architecture import layer_tree, tap_nodes
from resnet_core.backend import starting_weights
from resnet_core.specification import ResNetSpec
from resnet_torch.lowering import lower
from resnet_torch.weights import set_weights


class ResNet(nn.Module):
    """`stem`, `stage1` … `stageN`, `head`, one after the other.

    Takes (batch, channels, height, width) of any size; returns the logits, or {tap: tensor} when built
    with taps.
    """

    def __init__(self, spec: ResNetSpec, taps: tuple[str, ...]) -> None:
        super().__init__()
        self.taps = tap_nodes(spec, taps)
        for name, child in layer_tree(spec).children:
            self.add_module(name, lower(child))

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        outputs = {}
        for name, module in self.named_children():
            x = module(x)
            if name in self.taps.values():  # what nobody asked for is let go at once
                outputs[name] = x
        return {tap: outputs[node] for tap, node in self.taps.items()} if self.taps else x


def build(
    spec: ResNetSpec,
    *,
    weights: Mapping[str, np.ndarray] | None = None,
    seed: int = 0,
    taps: tuple[str, ...] = (),
    dtype: str = "float32",
) -> nn.Module:
    """A native model with the given neutral weights, or the spec's initial weights for `seed`.

    Raises InputError for an unknown tap or dtype, WeightsError for weights of another spec or dtype.
    """
    weights = starting_weights(spec, weights, seed, dtype)
    with torch.device("meta"):  # no values are drawn only to be overwritten
        model = ResNet(spec, taps).to(getattr(torch, dtype))
    model.to_empty(device=torch.get_default_device())
    for name, buffer in model.named_buffers():
        if name.endswith("num_batches_tracked"):
            buffer.zero_()
    set_weights(model, weights)
    return model
