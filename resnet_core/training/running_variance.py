"""The same BatchNorm running variance in every framework.

PyTorch updates it with the unbiased batch variance (n / (n - 1)), Keras and Flax with the biased one. The
neutral rule is PyTorch's. Built models consist of native layers, so a model that a user trains in Keras or
Flax follows their rule; this project's own training corrects the update with the numbers computed here.
"""

from __future__ import annotations

from collections.abc import Collection
from math import prod

from resnet_core.analysis import Network, layers, trace
from resnet_core.errors import InputError
from resnet_core.tree import BatchNorm, Combinator, Leaf
from resnet_core.weights import Weights


def variance_corrections(
    network: Network, shape: tuple[int, ...], frozen: Collection[str] = ()
) -> dict[str, tuple[float, float]]:
    """{name of a running variance: (decay, n / (n - 1))} for a batch of `shape` (batch, height, width, …).

    `network` is a spec or a tree; for a tree, `shape` includes the channels. n is the number of values per channel
    that the norm sees. Raises InputError if it is 1, for which there is no unbiased variance. Norms whose paths are
    `frozen` learn nothing and are left out.
    """
    if isinstance(network, Leaf | Combinator):
        found, _ = trace(network, shape[1:])
    else:
        found = layers(network, (shape[1], shape[2]))
    factors = {}
    for layer in found:
        if isinstance(layer.leaf, BatchNorm) and layer.path not in frozen:
            count = shape[0] * prod(layer.input_shape[:-1])
            if count < 2:
                raise InputError(f"{layer.path}: one value per channel in training; use a larger batch or image")
            factors[f"{layer.path}.running_var"] = (layer.leaf.decay, count / (count - 1))
    return factors


def unbiased_variances(network: Network, shape: tuple[int, ...], before: Weights, after: Weights) -> Weights:
    """{name: running variance} by the unbiased rule, computed from the weights before and after a biased update.

    `shape` (batch, height, width, channels) is that of the update's images. Raises as `variance_corrections` does.
    """
    corrected: Weights = {}
    for name, (decay, factor) in variance_corrections(network, shape).items():
        kept = decay * before[name]
        corrected[name] = (kept + (after[name] - kept) * factor).astype(after[name].dtype)
    return corrected
