"""Layers that exporters write as several nodes, as data: what these are, and which single node they are together."""

from __future__ import annotations

from collections.abc import Callable
from math import pi, sqrt
from typing import Any

import numpy as np

from resnet_core.conversion.graph_rewriting import Found, Numbers, Pattern, meant

#: The least end of a slice that goes on to the last value.
_LAST = 2**31 - 1


def _of(*attributes: str) -> Numbers:
    """Attributes of the node of that name, such as "Conv"."""
    return lambda found: {key: value for name in attributes for key, value in found.attributes[name].items()}


# Activations. GELU's factor of a half stands in one of several places.


def _gelus(inner: tuple[Any, ...]) -> tuple[tuple[Any, ...], ...]:
    one = ("Add", inner, 1.0)
    return ("Mul", ("Mul", "x", one), 0.5), ("Mul", "x", ("Mul", one, 0.5)), ("Mul", ("Mul", "x", 0.5), one)


_SHIFTED_CLIP = ("Clip", ("Add", "x", 3.0), 0.0, 6.0)
_CUBES = (("Pow", "x", 3.0), ("Mul", "x", ("Mul", "x", "x")))
_TANHS = tuple(("Tanh", ("Mul", ("Add", ("Mul", cube, 0.044715), "x"), sqrt(2 / pi))) for cube in _CUBES)
_ERFS = (("Erf", ("Mul", "x", sqrt(0.5))), ("Erf", ("Div", "x", sqrt(2.0))))

_ACTIVATIONS = (
    Pattern("Silu", ("x",), ("Mul", "x", ("Sigmoid", "x"))),
    *(Pattern("Gelu", ("x",), nodes) for inner in _ERFS for nodes in _gelus(inner)),
    *(
        Pattern("Gelu", ("x",), nodes, lambda found: {"approximate": "tanh"})
        for inner in _TANHS
        for nodes in _gelus(inner)
    ),
    Pattern("HardSwish", ("x",), ("Div", ("Mul", "x", _SHIFTED_CLIP), 6.0)),
    Pattern("HardSwish", ("x",), ("Mul", "x", ("Div", _SHIFTED_CLIP, 6.0))),
)

# Norms over the values of an image.


def _normalized(found: Found) -> dict[str, Any] | None:
    axes, epsilon = found.integers("axes"), found.number("epsilon")
    return None if axes is None or epsilon is None else {"axes": axes, "epsilon": epsilon}


def _by_channel(found: Found) -> bool:
    """Whether scale and shift are those of channels, and not of the columns of a map."""
    arrays = found.array("scale"), found.array("shift")
    return all(array is not None and array.shape[-2:] == (1, 1) for array in arrays)


def _over_one(found: Found) -> dict[str, Any] | None:
    """What this project writes: normalized over the channels."""
    normalized = found.attributes["Normalized"]
    return {"epsilon": normalized["epsilon"]} if normalized["axes"] == [1] and _by_channel(found) else None


def _with_shape(found: Found, numbers: dict[str, Any]) -> dict[str, Any] | None:
    """With the shape to which groups are brought back, where that is a constant and not the shape that was before."""
    if not _by_channel(found):
        return None
    if "shape" not in found.values:
        return numbers
    return None if (shape := found.integers("shape")) is None else {**numbers, "shape": shape}


def _in_groups(found: Found) -> dict[str, Any] | None:
    """What this project writes: [batch, groups, rest], normalized over the rest."""
    shape, normalized = found.integers("groups"), found.attributes["Normalized"]
    if shape is None or len(shape) != 3 or shape[::2] != [0, -1] or normalized["axes"] != [2]:
        return None
    return _with_shape(found, {"num_groups": shape[1], "epsilon": normalized["epsilon"]})


def _of_instances(found: Found) -> dict[str, Any] | None:
    """PyTorch's older exporter: a channel is a group there, with a scale of one and no shift."""
    ones, zeros, shape = found.array("ones"), found.array("zeros"), found.integers("groups")
    if ones is None or zeros is None or np.any(ones != 1) or np.any(zeros != 0) or shape != [0, ones.size, -1]:
        return None
    epsilon = found.attributes["InstanceNormalization"].get("epsilon", 1e-5)
    return _with_shape(found, {"num_groups": ones.size, "epsilon": epsilon})


def _over_channels(found: Found) -> dict[str, Any] | None:
    """A layer norm of channels that are brought last and back."""
    given = found.attributes["LayerNormalization"]
    return {"epsilon": given.get("epsilon", 1e-5)} if given.get("axis", -1) in (-1, 3) else None


def _mean(value: Any, keepdims: int, axes: Any = "axes") -> tuple[Any, ...]:
    return ("ReduceMean", value, axes, {"keepdims": keepdims})


def _mean_of(value: Any, keepdims: int, axes: Any) -> tuple[Any, ...]:
    """Up to version 17, the axes are an attribute."""
    return ("ReduceMean", value, {"keepdims": keepdims, "axes": axes})


_CENTERED = ("Sub", "x", _mean("x", 1))
_NORM = ("x", "scale", "shift")

_NORMS = (
    Pattern(
        "Normalized",
        ("x",),
        ("Div", _CENTERED, ("Sqrt", ("Add", _mean(("Mul", _CENTERED, _CENTERED), 1), "epsilon"))),
        _normalized,
    ),
    Pattern("LayerNorm", _NORM, ("Add", ("Mul", ("Normalized", "x"), "scale"), "shift"), _over_one),
    Pattern(
        "LayerNorm",
        _NORM,
        (
            "Transpose",
            ("LayerNormalization", ("Transpose", "x", {"perm": [0, 2, 3, 1]}), "scale", "shift"),
            {"perm": [0, 3, 1, 2]},
        ),
        _over_channels,
    ),
    *(
        Pattern(
            "GroupNormalization",
            _NORM,
            ("Add", ("Mul", ("Reshape", (*inner, *more), shape), "scale"), "shift"),
            numbers,
        )
        for inner, more, numbers in (
            (("Normalized", ("Reshape", "x", "groups")), (), _in_groups),
            (("InstanceNormalization", ("Reshape", "x", "groups")), ("ones", "zeros"), _of_instances),
        )
        for shape in (("Shape", "x"), "shape")
    ),
)

# Convolutions by a standardized kernel.


def _of_kernels(found: Found) -> dict[str, Any] | None:
    """PyTorch's: a batch norm of [1, output channels, the rest] by moments, which may be those of a transposed copy.

    They are those of the batch too, so that it may be in training mode.
    """
    kernels, ones, zeros, shape = (*map(found.array, ("kernels", "ones", "zeros")), found.integers("shape"))
    if kernels is None or ones is None or zeros is None or shape is None or np.any(ones != 1) or np.any(zeros != 0):
        return None
    turned = found.array("turned") if "turned" in found.values else kernels.transpose(0, 2, 1)
    if turned is None or not np.array_equal(turned.transpose(0, 2, 1), kernels):
        return None
    epsilon = meant(found.attributes["BatchNormalization"].get("epsilon", 1e-5))
    return {"axes": [1, 2, 3], "epsilon": epsilon, "shape": shape}


def _normed_kernels(value: str, axes: list[int], mean: Callable[..., tuple[Any, ...]]) -> Pattern:
    centered = ("Sub", value, mean(value, 1, axes))
    moments = mean(value, 0, axes), mean(("Mul", centered, centered), 0, axes)
    nodes = ("Reshape", ("BatchNormalization", "kernels", "ones", "zeros", *moments), "shape")
    return Pattern("Normalized", ("kernels",), nodes, _of_kernels)


def _standardized(found: Found) -> dict[str, Any] | None:
    normalized = found.attributes["Normalized"]
    if normalized["axes"] != [1, 2, 3]:
        return None
    return {**found.attributes["Conv"], "standardize": normalized["epsilon"], "shape": normalized.get("shape")}


_CONVOLUTIONS = (
    _normed_kernels("kernels", [0, 2], _mean),
    _normed_kernels("turned", [0, 1], _mean),
    _normed_kernels("turned", [0, 1], _mean_of),
    *(
        Pattern("Conv", ("x", "kernel", *bias), ("Conv", "x", ("Normalized", "kernel"), *bias), _standardized)
        for bias in ((), ("bias",))
    ),
)

# Blurs: sums of slices along each axis, or a constant kernel for each channel.


def _along(found: Found) -> dict[str, Any] | None:
    """One axis of a blur of this project."""
    axis, step, end = found.integers("axis"), found.integers("step"), found.integers("end")
    if not axis or not step or not end or end[0] < _LAST:
        return None
    return {"axis": axis[0], "step": step[0]}


def _both_ways(found: Found) -> dict[str, Any] | None:
    outer, inner = (found.attributes[name] for name in ("BlurAlong", "BlurAlong 2"))
    return {"strides": [inner["step"], outer["step"]]} if (inner["axis"], outer["axis"]) == (2, 3) else None


def _by_kernel(found: Found) -> dict[str, Any] | None:
    given, kernel, pads = found.attributes["Conv"], found.array("kernel"), found.integers("pads")
    if kernel is None or kernel.shape[1:] != (1, 3, 3) or given.get("group", 1) != len(kernel):
        return None
    undilated = given.get("dilations", [1, 1]) == [1, 1] and not any(given.get("pads", []))
    right = np.all(kernel == np.outer([1, 2, 1], [1, 2, 1]) / 16) and pads == [0, 0, 1, 1, 0, 0, 1, 1]
    return {"strides": given.get("strides", [1, 1])} if undilated and right else None


def _slice(value: Any, start: int, end: list[int] | str, step: list[int] | str) -> tuple[Any, ...]:
    return ("Slice", value, [start], end, "axis", step)


_REFLECTED = ("Concat", _slice("x", 1, [2], [1]), "x", _slice("x", -2, [-1], [1]))
_WEIGHTED = (
    "Add",
    ("Add", _slice(_REFLECTED, 0, [-2], "step"), ("Mul", _slice(_REFLECTED, 1, [-1], "step"), 2.0)),
    _slice(_REFLECTED, 2, "end", "step"),
)

# Pools of the whole map, one of them or both.


def _of_the_map(found: Found) -> dict[str, Any] | None:
    (given,) = found.attributes.values()
    axes = found.integers("axes") if "axes" in found.values else given.get("axes")
    return {} if axes is not None and sorted(axis % 4 for axis in axes) == [2, 3] else None


def _in_order(found: Found) -> dict[str, Any] | None:
    """Means that are gathered one by one, each at its own place."""
    index = found.array("index")
    right = index is not None and np.array_equal(index.reshape(-1), np.arange(index.size))
    return {} if right and _all_of_them(found) else None


def _in_order_of_each(found: Found) -> dict[str, Any] | None:
    """The same by an index that is computed of the batch: `channels` and the first of them in each image."""
    channels, count = found.array("channels"), found.number("count")
    if channels is None or channels.shape[-3:] != (count, 1, 1) or found.integers("axes") != [1, 2, 3]:
        return None
    right = found.values["images"] not in found.constants.arrays
    right = right and np.array_equal(channels.reshape(-1), np.arange(channels.size))
    return {} if right and _all_of_them(found) else None


def _all_of_them(found: Found) -> bool:
    return found.integers("all") == [-1] and found.attributes["Gather"].get("axis", 0) == 0


_BATCH = ("Squeeze", ("Shape", "images", {"start": 0, "end": 1}))
_FIRST_OF_EACH = ("Unsqueeze", ("Mul", ("Range", 0.0, _BATCH, 1.0), "count"), "axes")

_POOLS = (
    *(
        Pattern(operator, ("x",), (reduction, "x", *axes), _of_the_map)
        for operator, reduction in (("GlobalAveragePool", "ReduceMean"), ("GlobalMaxPool", "ReduceMax"))
        for axes in ((), ("axes",))
    ),
    # PyTorch's newer exporter, of a map whose channels were brought last.
    *(
        Pattern("GlobalAveragePool", ("x",), ("Gather", ("Reshape", ("GlobalAveragePool", "x"), "all"), index), numbers)
        for index, numbers in (
            ("index", _in_order),
            (("Add", ("Add", ("Add", _FIRST_OF_EACH, "channels"), 0.0), 0.0), _in_order_of_each),
        )
    ),
    *(
        Pattern(
            "GlobalConcatPool", ("x",), ("Concat", ("GlobalAveragePool", "x"), (operator, "x"), {"axis": 1}), numbers
        )
        for operator, numbers in (("GlobalMaxPool", _of()), ("MaxPool", _of("MaxPool")))
    ),
)

_BLURS = (
    Pattern("BlurAlong", ("x",), ("Div", _WEIGHTED, 4.0), _along),
    Pattern("Blur", ("x",), ("BlurAlong", ("BlurAlong", "x")), _both_ways),
    Pattern("Blur", ("x",), ("Conv", ("Pad", "x", "pads", {"mode": "reflect"}), "kernel"), _by_kernel),
)

#: In an order in which what one makes is there for the next.
PATTERNS = (*_ACTIVATIONS, *_NORMS, *_CONVOLUTIONS, *_BLURS, *_POOLS)
