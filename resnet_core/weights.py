"""Neutral weights in memory: {dotted name: array} in PyTorch's layout, checked against what a network needs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from resnet_core.errors import InputError, WeightsError, printable, require_choice
from resnet_core.tree import Shape

Weights = dict[str, np.ndarray]

DTYPES = ("float32", "float64")
#: What a backend may offer besides, for inference (its `HALF_DTYPES`).
HALF = ("bfloat16", "float16")
#: What a GPU may offer besides: a process whose products of float32 arrays keep ten bits of each factor's mantissa.
TF32 = "tf32"

#: From here on a float32 value rounds to infinity in float16, whose largest number is 65504.
_FLOAT16_OVERFLOW = 65520.0


class StateDict(dict[str, np.ndarray]):
    """The tensors of a file by their names there, and the keys of what lies `beside` them and is not read."""

    beside: tuple[str, ...] = ()


def check_weights(
    weights: Mapping[str, np.ndarray], expected: Mapping[str, Shape], dtype: str | None = None
) -> Weights:
    """The weights in the order of `expected`, as contiguous arrays of a single dtype, rounded to half precision if
    the model has it.

    `dtype` is the model's. Raises WeightsError for a missing or unknown name, a wrong shape, a dtype other than
    `array_dtype(dtype)` (or, if `dtype` is None, anything but float32 or float64 throughout), values that are not
    finite, also in the model's dtype, and negative variances.
    """
    model, dtype = dtype, dtype and array_dtype(dtype)
    if not isinstance(weights, Mapping):
        received = type(weights).__name__
        raise WeightsError(f"weights: received a {received}; expected {{name: array}}; read_weights reads files")
    if (difference := names_differ(weights, expected)) is not None:
        raise WeightsError(f"weights: {difference}; they belong to another spec")
    checked: Weights = {}
    for name, shape in expected.items():
        array = np.asarray(weights[name])
        if (difference := shape_differs(name, array.shape, tuple(shape))) is not None:
            raise WeightsError(difference)
        wanted = dtype or (checked and next(iter(checked.values())).dtype.name) or array.dtype.name
        if array.dtype.name not in DTYPES or array.dtype.name != wanted:
            expectation = wanted if wanted in DTYPES else " or ".join(DTYPES)
            raise WeightsError(
                f"{name}: received {array.dtype.name}, expected {expectation}; "
                "convert with resnet_core.cast(weights, dtype) or give the dtype"
            )
        if not np.isfinite(array).all():
            raise WeightsError(f"{name}: holds values that are not finite (NaN or infinity)")
        if model == "float16" and (size := np.abs(array).max(initial=0.0)) >= _FLOAT16_OVERFLOW:
            raise WeightsError(f"{name}: holds {size:.6g} and float16 ends at 65504; use bfloat16")
        if name.endswith("running_var") and (array < 0).any():
            raise WeightsError(
                f"{name}: received {array.min():.3g}; a variance is never below 0: were mean and variance swapped?"
            )
        if model in HALF:
            array = rounded(array, model)
        checked[name] = np.ascontiguousarray(array)  # safetensors writes other layouts incorrectly (its issue 825)
    return checked


def dtype_name(dtype: object) -> str | None:
    """What a framework's or NumPy's dtype is called here: torch.float64 is "float64". None stays None.

    >>> dtype_name(np.float64), dtype_name(np.dtype("float32"))
    ('float64', 'float32')
    """
    if dtype is None or isinstance(dtype, str):
        return dtype
    return str(getattr(dtype, "name", None) or getattr(dtype, "__name__", None) or str(dtype).rpartition(".")[2])


def require_dtype(dtype: str, offered: Sequence[str] = ()) -> str:
    """The dtype, unchanged. Raises InputError unless it is "float32", "float64" or one `offered` besides."""
    require_choice("dtype", dtype, (*DTYPES, *offered))
    return dtype


def require_training_dtype(dtype: str) -> str:
    """The dtype, unchanged. Raises InputError unless it is "float32" or "float64"; for half precision, says what to do.

    A step changes a weight by less than half precision can tell, and so do running statistics.
    """
    if dtype in HALF:
        raise InputError(
            f"dtype: received {dtype!r}, which is for inference; train a float32 model, in half precision by the "
            "framework's own means: torch.autocast, Keras' policy \"mixed_bfloat16\", `dtype` of Flax' layers"
        )
    return require_dtype(dtype)


def rounded(array: np.ndarray, dtype: str) -> np.ndarray:
    """A float32 array with its finite values rounded to "bfloat16" or "float16": to nearest, ties to even."""
    if dtype == "float16":
        return array.astype(np.float16).astype(np.float32)
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)  # bfloat16 is the upper half of a float32
    return ((bits + (0x7FFF + ((bits >> 16) & 1))) & np.uint32(0xFFFF0000)).view(np.float32)


def half_precision(weights: Mapping[str, np.ndarray]) -> str | None:
    """Which half precision all float32 kernels are in, as if they had been stored in it; None where they are not."""
    kernels = [array for array in weights.values() if array.ndim > 1]
    if any(array.dtype != np.float32 for array in kernels):
        return None
    with np.errstate(over="ignore"):  # what is too large for float16 is none of its numbers
        fitting = (dtype for dtype in HALF if all(np.array_equal(array, rounded(array, dtype)) for array in kernels))
        return next(fitting, None) if kernels else None


def array_dtype(dtype: str) -> str:
    """The dtype of the arrays that go into and come out of a model of this dtype: float32 for half precision.

    NumPy knows no bfloat16, and float32 has every value of either. Of TF32 it is the model's dtype too.
    """
    return "float32" if dtype in (*HALF, TF32) else dtype


def as_array(value: np.ndarray) -> np.ndarray:
    """A framework's array as one of NumPy's own dtypes (`array_dtype`)."""
    return value.astype(array_dtype(value.dtype.name), copy=False)


def cast(weights: Mapping[str, np.ndarray], dtype: str) -> Weights:
    """The weights in another dtype ("float32" or "float64"). Raises InputError for any other."""
    require_dtype(dtype)
    return {name: np.asarray(array).astype(dtype) for name, array in weights.items()}


def tensors_differ(received: Mapping[str, Shape], expected: Mapping[str, Shape]) -> str | None:
    """In words, what is missing, unknown or of another shape; None where these are the expected tensors."""
    if (difference := names_differ(received, expected)) is not None:
        return difference
    shapes = ((name, tuple(received[name]), tuple(shape)) for name, shape in expected.items())
    return next((difference for shape in shapes if (difference := shape_differs(*shape)) is not None), None)


def names_differ(received: Collection[str], expected: Collection[str]) -> str | None:
    """In words, which names are missing and unknown; None where all are as expected."""
    missing = [name for name in expected if name not in received]
    unknown = [name for name in received if name not in expected]
    parts = [f"{len(missing)} missing ({some(missing)})"] if missing else []
    parts += [f"{len(unknown)} unknown ({some(unknown)})"] if unknown else []
    return f"{' and '.join(parts)} of {len(expected)} expected tensors" if parts else None


def shape_differs(name: str, received: Shape, expected: Shape) -> str | None:
    """In words, how a tensor's shape is another; None where it is as expected."""
    if received == expected:
        return None
    head = name.startswith("head.linear.") and len(received) == len(expected) and received[1:] == expected[1:]
    hint = f"; these weights are for {received[0]} classes (set classes = {received[0]})" if head else ""
    return f"{name}: received shape {received}, expected {expected}{hint}"


def some(names: Sequence[str]) -> str:
    """The first three names, and whether there are more."""
    return ", ".join(map(printable, names[:3])) + (", …" if len(names) > 3 else "")
