"""Input checks that all backends share: the weights that a model starts from, and images.

The errors in the contract (`resnet_core.backend.Backend`) are raised here, so that users see the same message in
every framework.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from resnet_core.analysis import node_shapes, trace
from resnet_core.architecture import layer_tree
from resnet_core.errors import InputError
from resnet_core.initialization import initialize
from resnet_core.specification import ResNetSpec
from resnet_core.tree import Chain, Shape
from resnet_core.weights import Weights, array_dtype, require_dtype, require_training_dtype


def starting_weights(
    spec: ResNetSpec,
    weights: Mapping[str, np.ndarray] | None,
    seed: int,
    dtype: str | None,
    offered: Sequence[str] = (),
) -> Weights:
    """The weights for `build`: the given ones, which `build_tree` checks, or the spec's initial ones.

    A dtype of None means float32; half precision is that of `offered`.
    """
    dtype = array_dtype(require_dtype(dtype or "float32", offered))
    return initialize(spec, seed, dtype) if weights is None else dict(weights)


def check_images(
    images: np.ndarray, channels: int, tree: Chain | None, *, training: bool = False, dtype: str = "float32"
) -> np.ndarray:
    """The images as an array (batch, height, width, channels); the batch may be empty.

    Raises InputError for a wrong rank, kind or number of channels, for images too small for the tree, and with
    `training` for a model whose `dtype` cannot be trained, an empty batch or a norm that would see one value per
    channel. Without a tree, what depends on it is not checked.
    """
    if training:
        require_training_dtype(dtype)
    array = np.asarray(images)
    if array.ndim != 4 or array.dtype.kind not in "fiu" or array.shape[3] != channels:
        raise InputError(
            f"images: received {array.dtype} of shape {array.shape}; expected numbers of shape "
            f"(batch, height, width, {channels}), channels last"
        )
    if training and not len(array):
        raise InputError("images: received an empty batch; training needs at least one image")
    if tree is not None:
        for path, positions in _norm_positions(tree, array.shape[1:]):
            if training and len(array) * positions < 2:
                raise InputError(
                    f"{path}: sees one value per channel, which has no variance; use a larger batch or larger images"
                )
    return array


def empty_output(tree: Chain, nodes: Mapping[str, str], images: Any, dtype: Any) -> Any:
    """What `predict` returns for an empty batch: an array (0, …), or {tap: array (0, …)}.

    `nodes` is {tap: path in the tree}, empty without taps; `dtype` is that of the arrays, or the model's by name.
    """
    dtype = array_dtype(dtype) if isinstance(dtype, str) else dtype
    shapes = node_shapes(tree, images.shape[1:])
    if not nodes:
        return np.zeros((0, *shapes[tree.children[-1][0]]), dtype)
    return {tap: np.zeros((0, *shapes[path]), dtype) for tap, path in nodes.items()}


def remembered_tree(model: Any, spec: ResNetSpec | None) -> Chain:
    """The model's tree, or else the spec's. Raises InputError if the model has lost its tree and no spec is given."""
    tree: Chain | None = getattr(model, "tree", None)
    if tree is not None:
        return tree
    if spec is None:
        raise InputError("model: has no layer tree (one loaded from a framework's own file has lost it); give the spec")
    return layer_tree(spec)


@lru_cache(maxsize=64)
def _norm_positions(tree: Chain, shape: Shape) -> tuple[tuple[str, int], ...]:
    """(path, height x width) of every layer with running statistics, for images of `shape`.

    Raises InputError if the images are too small.
    """
    layers, _ = trace(tree, shape)
    return tuple((layer.path, prod(layer.input_shape[:-1])) for layer in layers if layer.state > layer.parameters)
