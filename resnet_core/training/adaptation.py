"""Weights of a network with other classes or other channels of its pictures, as a start for training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from resnet_core.analysis import first_convolution
from resnet_core.errors import WeightsError
from resnet_core.initialization import initialize
from resnet_core.specification import ResNetSpec
from resnet_core.tree import Shape
from resnet_core.weights import Weights, cast

_HEAD = "head.linear."


def adapted_weights(
    spec: ResNetSpec, weights: Mapping[str, np.ndarray], seed: int, dtype: str
) -> tuple[Weights, tuple[str, ...]]:
    """(weights to start from, what was changed, in sentences).

    A head for another number of classes is replaced by a new one, drawn from the seed. A first convolution for other
    channels is adapted as timm does it (`timm.models.adapt_input_conv`): for one channel it is summed over its own, so
    that a gray picture in all of them has the same output; for more, its channels are repeated, and scaled by how many
    there were to how many there are.

    Raises WeightsError if they differ in anything else.
    """
    fresh, given, sentences = initialize(spec, seed, dtype), dict(weights), []
    first = f"{first_convolution(spec)}.weight"
    if first in given and (channels := _other_channels(given[first].shape, fresh[first].shape)) is not None:
        given[first] = _for_channels(given[first], spec.in_channels)
        how = "summed over them" if spec.in_channels == 1 else "repeated and scaled"
        received = f"the weights are for {channels} channels, the pictures have {spec.in_channels}"
        sentences.append(f"{received}: {first} is {how}")
    other = {name for name in fresh if name not in given or given[name].shape != fresh[name].shape}
    for name in (*fresh, *given):
        if (name in other or name not in fresh) and not name.startswith(_HEAD):
            raise WeightsError(f"weights: {name} does not fit the network; expected weights of the same network")
    if other:
        sentences.append(_about_head(given, spec))
    kept = cast({name: array for name, array in given.items() if name in fresh and name not in other}, dtype)
    return {name: kept.get(name, array) for name, array in fresh.items()}, tuple(sentences)


def _about_head(weights: Mapping[str, np.ndarray], spec: ResNetSpec) -> str:
    kernel = weights.get(f"{_HEAD}weight")
    classes = "no" if kernel is None else kernel.shape[0]
    if classes == spec.classes:
        return "the weights have another head: what it lacks is new"
    return f"the weights are for {classes} classes, the network has {spec.classes}: its head is new"


def _other_channels(received: Shape, expected: Shape) -> int | None:
    """The channels of a kernel (out, in, height, width) that differs in nothing else from what is expected."""
    if len(received) != 4 or received[1] == expected[1] or (received[0], *received[2:]) != (expected[0], *expected[2:]):
        return None
    return received[1]


def _for_channels(kernel: np.ndarray, channels: int) -> np.ndarray:
    """A kernel (out, in, height, width) for pictures of other channels."""
    own = kernel.shape[1]
    if channels == 1:
        return kernel.sum(1, keepdims=True, dtype=np.float64).astype(kernel.dtype)
    repeated = np.tile(kernel, (1, -(-channels // own), 1, 1))[:, :channels]
    return (repeated.astype(np.float64) * (own / channels)).astype(kernel.dtype)
