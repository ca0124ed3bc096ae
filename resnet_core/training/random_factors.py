"""What dropouts and drop paths multiply by in a step, drawn here, so that a run is the same in every framework.

Each layer's factors are drawn from the seed, the step and its path, so that a run goes on to the same bits wherever it
was interrupted, and no layer's depend on another's.
"""

from __future__ import annotations

import zlib
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from resnet_core.analysis import trace
from resnet_core.architecture import layer_tree
from resnet_core.errors import InputError
from resnet_core.specification import ResNetSpec
from resnet_core.training.contract import StepInputs, StepNumbers
from resnet_core.tree import Chain, Dropout, DropPath, Shape

#: The purpose of these generators, the second number of their seeds; `augmentation` has those before it.
PURPOSE = 7


class _Layer(NamedTuple):
    path: str
    rate: float
    shape: Shape  #: of one image's factors


def step_inputs(
    spec: ResNetSpec,
    seed: int,
    step: int,
    images: np.ndarray,
    targets: np.ndarray,
    numbers: StepNumbers,
    count: int | None = None,
) -> StepInputs:
    """The inputs of a step (counted from 0) of a run with this seed.

    The factors are those of a batch of `count` images; by default, these are all.
    """
    shape = (len(images) if count is None else count, *images.shape[1:])
    return StepInputs(images, targets, numbers, random_factors(layer_tree(spec), seed, step, shape))


def random_factors(tree: Chain, seed: int, step: int, images: Shape) -> dict[str, np.ndarray]:
    """{path: float64 factors} of every random layer, for images of shape (batch, height, width, channels)."""
    factors = {}
    for path, rate, shape in _random_layers(tree, images[1:]):
        rng = np.random.default_rng([seed, PURPOSE, step, zlib.crc32(path.encode())])
        kept = rng.random((images[0], *shape)) >= rate
        factors[path] = kept / (1 - rate)
    return factors


def require_random_layers(spec: ResNetSpec, inputs: frozenset[str]) -> None:
    """Raise InputError if the network has random layers and a trainer with these `inputs` does not take factors."""
    for field in ("dropout", "drop_path"):
        if (rate := getattr(spec, field)) and "factors" not in inputs:
            raise InputError(f"{field}: received {rate}; this backend's trainer takes only 0 (use another backend)")


@lru_cache(maxsize=16)
def _random_layers(tree: Chain, shape: Shape) -> tuple[_Layer, ...]:
    layers, _ = trace(tree, shape)
    return tuple(
        _Layer(layer.path, layer.leaf.rate, () if isinstance(layer.leaf, DropPath) else layer.input_shape)
        for layer in layers
        if isinstance(layer.leaf, Dropout | DropPath)
    )
