"""Native models from whatever names a network: a spec's name or file, a run, a weight file, or the spec itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from resnet_core.analysis import state
from resnet_core.backend import load_backend
from resnet_core.prediction.network import trained_network
from resnet_core.spec_files import Source, brings_weights
from resnet_core.spec_files import spec as read_spec
from resnet_core.specification import ResNetSpec
from resnet_core.weights import array_dtype, cast, dtype_name

Given = Mapping[str, np.ndarray] | str | Path | None


def build(
    spec: Source,
    backend: str,
    *,
    weights: Given = None,
    seed: int = 0,
    taps: tuple[str, ...] = (),
    dtype: object = None,
) -> Any:
    """A native model in the named backend: an nn.Module, a keras.Model, an nnx.Module …

    `spec` is a name, a file, a run or a ResNetSpec. The model holds the neutral `weights`: arrays, a neutral file or
    another library's; without them those of the run or of the weight file that `spec` is, or else the spec's initial
    weights for `seed`. With `taps` it returns {tap: output} instead of the logits. `dtype` is "float32" or "float64",
    by name or as a framework's own (`torch.float64`); None means float32, in Keras its global dtype policy, which may
    be a mixed one. For inference it may be "bfloat16" or "float16", but in NumPy: parameters, statistics and arithmetic
    are then in half precision, and arrays of weights and of outputs are float32. Raises as `load_backend` and
    `Backend` do.
    """
    network = read_spec(spec)
    dtype = dtype_name(dtype)
    given = _weights(spec, network, weights, backend, dtype)
    return load_backend(backend).build(network, weights=given, seed=seed, taps=taps, dtype=dtype)


def features(
    spec: Source,
    backend: str,
    *,
    weights: Given = None,
    seed: int = 0,
    taps: tuple[str, ...] = (),
    dtype: object = None,
) -> Any:
    """`build` without the head's last layer: the model returns (batch, channels of the last stage).

    It is for retrieval, clustering, or a head of one's own. The `weights` are those of the whole network; with
    `global_pool = false` in the spec, the model returns the feature map.
    """
    network = read_spec(spec)
    headless = read_spec(network, classes=None)
    dtype = dtype_name(dtype)
    given = _weights(spec, network, weights, backend, dtype)
    if given is not None:
        last = state(network).keys() - state(headless).keys()
        given = {name: array for name, array in given.items() if name not in last}
    return build(headless, backend, weights=given, seed=seed, taps=taps, dtype=dtype)


def _weights(
    source: Source, network: ResNetSpec, weights: Given, backend: str, dtype: str | None
) -> Mapping[str, np.ndarray] | None:
    """Arrays as they are; those of a file in the dtype that the backend wants for `dtype`."""
    if isinstance(weights, Mapping):
        return weights
    if weights is None and not brings_weights(source):
        return None
    found = trained_network(source) if weights is None else trained_network(network, weights)
    default = getattr(load_backend(backend), "default_dtype", None)
    return cast(found.weights, array_dtype(dtype or (default() if default else "float32")))
