"""From spec to PyTorch model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from resnet_core.architecture import layer_tree
from resnet_core.inputs import starting_weights
from resnet_core.specification import ResNetSpec
from resnet_core.tap_paths import Record, tap_nodes
from resnet_core.tree import Chain
from resnet_core.weights import require_dtype
from resnet_torch import HALF_DTYPES
from resnet_torch.habits import TimmHabits
from resnet_torch.lowering import lower, tap
from resnet_torch.weights import set_weights


class ResNet(TimmHabits):
    """`stem`, `stage1` … `stageN`, `head`, one after another.

    Takes (batch, channels, height, width) of any size; returns the logits, or {tap: tensor} when built
    with taps.
    """

    def __init__(self, tree: Chain, channels: int, taps: tuple[str, ...]) -> None:
        super().__init__()
        self.tree, self.channels = tree, channels
        self.taps = tap_nodes(tree, taps)
        for name, child in tree.children:
            self.add_module(name, lower(child))
        for path in self.taps.values():
            tap(self, path)

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        record = Record(self.taps.values())
        for name, module in self.named_children():
            inside = record.inside(name)
            x = module(x) if inside is None else module(x, inside)
            record.keep(name, x)
        return {name: record.outputs[path] for name, path in self.taps.items()} if self.taps else x


def build(
    spec: ResNetSpec,
    *,
    weights: Mapping[str, np.ndarray] | None = None,
    seed: int = 0,
    taps: tuple[str, ...] = (),
    dtype: str | None = None,
) -> ResNet:
    """`build_tree` on the spec's layer tree."""
    weights = starting_weights(spec, weights, seed, dtype, HALF_DTYPES)
    return build_tree(layer_tree(spec), channels=spec.in_channels, weights=weights, taps=taps, dtype=dtype)


def build_tree(
    tree: Chain,
    *,
    channels: int,
    weights: Mapping[str, np.ndarray],
    taps: tuple[str, ...] = (),
    dtype: str | None = None,
) -> ResNet:
    """A model whose parameters and buffers hold the weights, on PyTorch's default device."""
    with torch.device("meta"):  # no initial values are drawn, since they would be overwritten
        model = ResNet(tree, channels, taps).to(getattr(torch, require_dtype(dtype or "float32", HALF_DTYPES)))
    # Not `to_empty`: for tensors on meta it imports all of SymPy, a third of a small network's start.
    device, meta = torch.get_default_device(), model.state_dict()
    zeros = {name: torch.zeros(tensor.shape, dtype=tensor.dtype, device=device) for name, tensor in meta.items()}
    model.load_state_dict(zeros, assign=True)
    set_weights(model, weights)
    return model
