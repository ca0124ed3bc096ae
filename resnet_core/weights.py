"""Neutral weights in memory: {dotted name: array} in PyTorch's layout, checked against what a network needs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from resnet_core.errors import WeightsError, require_choice
from resnet_core.tree import Shape

Weights = dict[str, np.ndarray]
DTYPES = ("float32", "float64")


def check_weights(
    weights: Mapping[str, np.ndarray], expected: Mapping[str, Shape], dtype: str | None = None
) -> Weights:
    """The weights in the order of `expected`, as contiguous arrays of a single dtype.

    Raises WeightsError for a missing or unknown name, a wrong shape, a dtype other than `dtype` (or, if that is
    None, anything but float32 or float64 throughout), values that are not finite, and negative variances.
    """
    if not isinstance(weights, Mapping):
        received = type(weights).__name__
        raise WeightsError(f"weights: received a {received}; expected {{name: array}}; read_weights reads files")
    missing = [name for name in expected if name not in weights]
    unknown = [name for name in weights if name not in expected]
    if missing or unknown:
        parts = [f"{len(missing)} missing ({_some(missing)})"] if missing else []
        parts += [f"{len(unknown)} unknown ({_some(unknown)})"] if unknown else []
        raise WeightsError(
            f"weights: {' and '.join(parts)} of {len(expected)} expected tensors; they belong to another spec"
        )
    checked: Weights = {}
    for name, shape in expected.items():
        array = np.asarray(weights[name])
        if array.shape != tuple(shape):
            hint = _classes_hint(name, array.shape, tuple(shape))
            raise WeightsError(f"{name}: received shape {array.shape}, expected {tuple(shape)}{hint}")
        wanted = dtype or (checked and next(iter(checked.values())).dtype.name) or array.dtype.name
        if array.dtype.name not in DTYPES or array.dtype.name != wanted:
            expectation = wanted if wanted in DTYPES else " or ".join(DTYPES)
            raise WeightsError(
                f"{name}: received {array.dtype.name}, expected {expectation}; "
                "convert with resnet_core.cast(weights, dtype) or give the dtype"
            )
        if not np.isfinite(array).all():
            raise WeightsError(f"{name}: holds values that are not finite (NaN or infinity)")
        if name.endswith("running_var") and (array < 0).any():
            raise WeightsError(
                f"{name}: received {array.min():.3g}; a variance is never below 0: were mean and variance swapped?"
            )
        checked[name] = np.ascontiguousarray(array)  # safetensors writes other layouts incorrectly (its issue 825)
    return checked


def require_dtype(dtype: str) -> str:
    """The dtype, unchanged. Raises InputError unless it is "float32" or "float64"."""
    require_choice("dtype", dtype, DTYPES)
    return dtype


def cast(weights: Mapping[str, np.ndarray], dtype: str) -> Weights:
    """The weights in another dtype ("float32" or "float64"). Raises InputError for any other."""
    require_dtype(dtype)
    return {name: np.asarray(array).astype(dtype) for name, array in weights.items()}


def _classes_hint(name: str, received: Shape, expected: Shape) -> str:
    if name.startswith("head.linear.") and len(received) == len(expected) and received[1:] == expected[1:]:
        return f"; these weights are for {received[0]} classes (set classes = {received[0]})"
    return ""


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
