"""The same BatchNorm running statistics in every framework: the variance, and what several groups teach.

PyTorch updates it with the unbiased batch variance (n / (n - 1)), Keras and Flax with the biased one. The
neutral rule is PyTorch's. Built models consist of native layers, so a model that a user trains in Keras or
Flax follows their rule; this project's own training corrects the update with the numbers computed here.

Where norms take groups of a batch by themselves (a recipe's `statistics_batch`), running statistics learn from one
group after another, in the order of the rows, as from so many smaller batches. From r, the statistics m_1 … m_n of n
groups, and the weight d of the old, that makes

    d^n r + (1 - d) (d^(n-1) m_1 + … + d m_(n-1) + m_n),

a sum, whose terms can be found in any order, and in several processes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from math import prod
from typing import Any

import numpy as np

from resnet_core.analysis import Network, layers, trace
from resnet_core.errors import InputError
from resnet_core.tree import BatchNorm, Combinator, Leaf
from resnet_core.weights import Weights


def variance_corrections(
    network: Network, shape: tuple[int, ...], frozen: Collection[str] = (), groups: int = 1
) -> dict[str, tuple[float, float]]:
    """{name of a running variance: (decay, n / (n - 1))} for a batch of `shape` (batch, height, width, …).

    `network` is a spec or a tree; for a tree, `shape` includes the channels. n is the number of values per channel
    that the norm sees. Raises InputError if it is 1, for which there is no unbiased variance. Norms whose paths are
    `frozen` learn nothing and are left out. Of a batch in `groups`, n is of one group, and the decay that of all.
    """
    if isinstance(network, Leaf | Combinator):
        found, _ = trace(network, shape[1:])
    else:
        found = layers(network, (shape[1], shape[2]))
    factors = {}
    for layer in found:
        if isinstance(layer.leaf, BatchNorm) and layer.path not in frozen:
            count = shape[0] // groups * prod(layer.input_shape[:-1])
            if count < 2:
                raise InputError(f"{layer.path}: one value per channel in training; use a larger batch or image")
            factors[f"{layer.path}.running_var"] = (layer.leaf.decay**groups, count / (count - 1))
    return factors


def group_weights(decay: float, groups: int) -> np.ndarray:
    """(groups,) float64: how much of each group's statistics a running one learns; it keeps decay ** groups."""
    return (1 - decay) * decay ** np.arange(groups - 1, -1, -1, dtype=np.float64)


def learned_together(
    before: Any, after: Any, decay: float, groups: int, rank: int, processes: int, total: Callable[[Any], Any]
) -> Any:
    """Running statistics that have learned from all `groups`, of which each process has its share, rank after rank.

    `before` is the same in all processes, `after` what it becomes by this process's groups alone, arrays or tensors;
    `total` adds everyone's up. By the sum above: what a rank's groups add fades with the groups of the ranks after it.
    """
    own = groups // processes
    added = after - decay**own * before
    return decay**groups * before + total(decay ** (own * (processes - 1 - rank)) * added)


def unbiased_variances(network: Network, shape: tuple[int, ...], before: Weights, after: Weights) -> Weights:
    """{name: running variance} by the unbiased rule, computed from the weights before and after a biased update.

    `shape` (batch, height, width, channels) is that of the update's images. Raises as `variance_corrections` does.
    """
    corrected: Weights = {}
    for name, (decay, factor) in variance_corrections(network, shape).items():
        kept = decay * before[name]
        corrected[name] = (kept + (after[name] - kept) * factor).astype(after[name].dtype)
    return corrected
