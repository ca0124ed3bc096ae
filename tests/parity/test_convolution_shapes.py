"""PyTorch's bfloat16 convolutions have been wrong for some shapes on CPUs (pytorch#163347, #169688): for none of ours.

Each is held against the same one in float32, forward and backward, and in both layouts that are used.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import resnet_core as rn
import resnet_torch
from resnet_core.benchmark.precision import Precision
from resnet_core.benchmark.proof import shape_problem
from resnet_core.benchmark.shapes import convolutions, described, shape_error
from resnet_core.tree import Chain, Conv

ROUNDING = Precision("float32", "bfloat16")

#: A network of each kind, and what has other shapes than any of them.
NETWORKS = ("resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2", "resnet20", "resnet_v2_50", "resnet50d")


class Trained:
    """`resnet_torch` with channels last in memory, as its trainer has them."""

    @staticmethod
    def build_tree(tree: Chain, **given: object) -> torch.nn.Module:
        return resnet_torch.build_tree(tree, **given).to(memory_format=torch.channels_last)  # type: ignore[arg-type,call-overload,no-any-return]

    gradients = staticmethod(resnet_torch.gradients)


def problems(spec: rn.ResNetSpec, size: tuple[int, int], batch: int) -> list[str]:
    found = []
    for leaf, shape in convolutions(spec, size):
        errors = [
            shape_error(resnet_torch, leaf, shape, ROUNDING, batch=batch, fast=False, training=False),
            shape_error(resnet_torch, leaf, shape, ROUNDING, batch=batch, fast=True, training=False),
            shape_error(resnet_torch, leaf, shape, ROUNDING, batch=batch, fast=False, training=True),
            shape_error(Trained, leaf, shape, ROUNDING, batch=batch, fast=False, training=True),
        ]
        found += [told for error in errors if (told := shape_problem(described(leaf, shape), error, "bfloat16"))]
    return found


def test_a_networks_convolutions_are_asked_once_each_at_their_size() -> None:
    found = convolutions(rn.spec("resnet50"), (224, 224))
    assert len(found) == len(set(found)) == 23
    assert described(*found[0]) == "the 7x7 convolution of 224 x 224, 3 to 64 channels, stride 2"
    grouped = [described(*each) for each in convolutions(rn.spec("resnext50_32x4d"), (64, 64))]
    assert "the 3x3 convolution of 16 x 16, 128 to 128 channels, 32 groups" in grouped


def test_every_shape_of_a_small_network_is_right() -> None:
    assert problems(rn.spec("resnet20"), (32, 32), 2) == []


@pytest.mark.long
@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_shape_is_right_at_the_networks_own_size(name: str, batch: int) -> None:
    spec = rn.spec(name)
    assert problems(spec, spec.input_size, batch) == []


def test_one_that_is_wrong_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one shape, in one direction: the gradient of its kernel lacks a sixteenth of the pictures' rows."""
    right = resnet_torch.gradients

    def wrong(model: torch.nn.Module, images: np.ndarray, cotangent: np.ndarray) -> dict[str, np.ndarray]:
        first = next(leaf for _, leaf in model.tree.children if isinstance(leaf, Conv))  # type: ignore[union-attr,operator]
        if first.dtype and first.stride == (2, 2) and first.in_channels == 16:
            cotangent = np.where(np.arange(cotangent.shape[1])[:, None, None] % 16 == 1, 0, cotangent)
        return right(model, images, cotangent)  # type: ignore[arg-type]

    monkeypatch.setattr(resnet_torch, "gradients", wrong)
    (told,) = problems(rn.spec("resnet20"), (32, 32), 2)
    assert told.startswith("the 3x3 convolution of 32 x 32, 16 to 32 channels, stride 2 differs by")
