"""What a wrong default costs: a narrow network of the same kind computed right and wrong, by the NumPy reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import msgspec
import numpy as np

from resnet_core import tree
from resnet_core.analysis import totals
from resnet_core.architecture import layer_tree
from resnet_core.backend import load_backend
from resnet_core.comparison.narrow import narrowed
from resnet_core.conformance.changes import TREE_CHANGES, WEIGHT_CHANGES, TreeChange, every
from resnet_core.errors import InputError
from resnet_core.initialization import probe_weights
from resnet_core.specification import ResNetSpec
from resnet_core.training.running_variance import variance_corrections
from resnet_core.tree import BatchNorm
from resnet_core.weights import Weights

#: Pictures that are computed with, of random numbers.
PICTURES = 16
#: Where two right computations differ by no more than this, nothing was changed.
SAME = 1e-12


@dataclass(frozen=True, slots=True)
class Damage:
    """What became wrong: max|a - b| / max|b| of the output, and of how many pictures the most likely class changed.

    `changed` is None for a network without classes.
    """

    error: float
    changed: int | None


@dataclass(frozen=True, slots=True)
class Measurement:
    """The damages by topic, and the network that they were computed on."""

    network: ResNetSpec
    damages: Mapping[str, Damage]


def measure(spec: ResNetSpec) -> Measurement:
    """Every damage that the network can take. Raises MissingBackendError without the NumPy backend."""
    network = _small(narrowed(spec))
    bench = _Bench(network, load_backend("numpy"))
    runs = {topic: _tree(change) for topic, change in CHANGES.items()} | RUNS
    found = {topic: damage for topic, run in runs.items() if (damage := run(bench)) is not None}
    return Measurement(network, found)


def _small(spec: ResNetSpec) -> ResNetSpec:
    """With pictures half as high and wide, if those are large enough: a quarter of the work."""
    height, width = (max(1, (side + 1) // 2) for side in spec.input_size)
    half = msgspec.structs.replace(spec, input_size=(height, width))
    try:
        totals(half)
    except InputError:
        return spec
    return half


class _Bench:
    """The narrow network, with weights and pictures that are always the same."""

    def __init__(self, spec: ResNetSpec, backend: Any) -> None:
        self.spec, self.backend = spec, backend
        self.tree = layer_tree(spec)
        self.weights = probe_weights(spec, dtype="float64")
        shape = (PICTURES, *spec.input_size, spec.in_channels)
        self.images = np.random.default_rng(0).standard_normal(shape)
        self.right = self.output(self.tree, self.weights)

    def model(self, root: tree.Chain, weights: Weights) -> Any:
        channels = self.spec.in_channels
        return self.backend.build_tree(root, channels=channels, weights=weights, dtype="float64")

    @cached_property
    def learned(self) -> Weights:
        """The weights after one right forward pass of training."""
        return self.trained(self.tree)

    def output(self, root: tree.Chain, weights: Weights) -> np.ndarray:
        return np.asarray(self.backend.predict(self.model(root, weights), self.images))

    def trained(self, root: tree.Chain) -> Weights:
        """The weights after a forward pass of training in this tree."""
        model = self.model(root, self.weights)
        self.backend.train_forward(model, self.images)
        return dict(self.backend.get_weights(model))

    def damage(self, wrong: np.ndarray, right: np.ndarray | None = None) -> Damage | None:
        right = self.right if right is None else right
        error = float(np.abs(wrong - right).max() / np.abs(right).max())
        classes = self.spec.classes is not None and right.ndim == 2
        changed = int((wrong.argmax(1) != right.argmax(1)).sum()) if classes else None
        return Damage(error if error > SAME else 0.0, changed)


def _tree(change: TreeChange) -> Callable[[_Bench], Damage | None]:
    """The same weights in a wrong tree; nothing where that is the same tree."""

    def run(bench: _Bench) -> Damage | None:
        wrong = change(bench.tree)
        return None if wrong == bench.tree else bench.damage(bench.output(wrong, bench.weights))

    return run


def _weights(name: str) -> Callable[[_Bench], Damage | None]:
    return lambda bench: bench.damage(bench.output(bench.tree, WEIGHT_CHANGES[name](bench.weights)))


def _momentum(bench: _Bench) -> Damage | None:
    """One step of running statistics with the two weights exchanged."""
    wrong = CHANGES["momentum"](bench.tree)
    if wrong == bench.tree:
        return None
    right = bench.output(bench.tree, bench.learned)
    return bench.damage(bench.output(bench.tree, bench.trained(wrong)), right)


def _variance(bench: _Bench) -> Damage | None:
    """One step of running statistics with the biased variance."""
    factors = variance_corrections(bench.tree, bench.images.shape)
    if not factors:
        return None
    unbiased = bench.learned
    biased = dict(unbiased)
    for name, (decay, factor) in factors.items():
        kept = decay * bench.weights[name]
        biased[name] = kept + (unbiased[name] - kept) / factor
    return bench.damage(bench.output(bench.tree, biased), bench.output(bench.tree, unbiased))


def _other_pool_padding(pool: tree.MaxPool) -> tree.MaxPool:
    """From both sides alike to TensorFlow's "same", and back."""
    if pool.padding == ((0, 0), (0, 0)):
        return pool
    sides = (pool.kernel[0] // 2, pool.kernel[0] // 2)
    return replace(pool, padding=(sides, sides) if pool.padding == "same" else "same")


def _stride_before(block: tree.Residual) -> tree.Residual:
    """The stride of a bottleneck's second convolution in its first, or from the first in the second."""
    children = dict(block.body.children)
    one, two = children.get("conv1"), children.get("conv2")
    if not (isinstance(one, tree.Conv) and isinstance(two, tree.Conv) and one.kernel == (1, 1)):
        return block
    children |= {"conv1": replace(one, stride=two.stride), "conv2": replace(two, stride=one.stride)}
    return replace(block, body=tree.Chain(tuple(children.items())))


#: {topic: the mistake in the layer tree}; a network whose tree it leaves as it is has no room for that mistake.
CHANGES: dict[str, TreeChange] = {
    "padding": TREE_CHANGES["SAME padding at stride 2"],
    "pool": every(tree.MaxPool, _other_pool_padding),
    "epsilon": TREE_CHANGES["wrong epsilon"],
    "momentum": every(BatchNorm, lambda norm: replace(norm, decay=1 - norm.decay)),
    "stride": every(tree.Residual, _stride_before),
    "gelu": TREE_CHANGES["tanh for erf"],
    "channels": TREE_CHANGES["channels padded at the end"],
    "dilation": TREE_CHANGES["dilation lost"],
    "standardization": TREE_CHANGES["standardization lost"],
    "projection": TREE_CHANGES["projection reads the raw input"],
    "relu": TREE_CHANGES["missing ReLU"],
}

#: {topic: how it is measured}, where that is not by computing with the wrong tree.
RUNS: dict[str, Callable[[_Bench], Damage | None]] = {
    "momentum": _momentum,
    "variance": _variance,
    "layout": _weights("kernels transposed"),
    "flip": _weights("kernels flipped"),
}


def has_room(spec: ResNetSpec, topic: str) -> bool:
    """Whether the mistake can be made in the network; nothing is computed."""
    change = CHANGES.get("momentum" if topic == "variance" else topic)
    root = layer_tree(spec)
    return change is None or change(root) != root
