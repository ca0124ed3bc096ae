"""What a graph makes of constants alone: weights in another shape, and the pads that an exporter's program counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

#: [operator, name, inputs, outputs, attributes].
GraphNode = list[Any]

#: The most values that are counted with; an image has four axes, each with two pads. Weights only change their shape.
_MOST_COUNTED = 16


class Constants(NamedTuple):
    """`arrays` by value, and `names` of the initializers that they are, in another shape perhaps."""

    arrays: dict[str, np.ndarray]
    names: dict[str, str]


def fold_constants(nodes: Sequence[GraphNode], arrays: Mapping[str, np.ndarray]) -> tuple[list[GraphNode], Constants]:
    """(the nodes that depend on the images, every constant)."""
    constants = Constants(dict(arrays), {name: name for name in arrays})
    rest = []
    for node in nodes:
        operator, _, inputs, outputs, given = node
        operands = [constants.arrays.get(name) for name in inputs if name]
        if operator in _SHAPED and operands and operands[0] is not None and all(each is not None for each in operands):
            constants.arrays[outputs[0]] = _SHAPED[operator](given, *operands)
            constants.names[outputs[0]] = constants.names[inputs[0]]
        elif operator in _COUNTED and all(each is not None and each.size <= _MOST_COUNTED for each in operands):
            constants.arrays[outputs[0]] = counted = _COUNTED[operator](given, *operands)
            constants.names[outputs[0]] = outputs[0]
            if counted.size > _MOST_COUNTED:
                raise ValueError(f"{counted.size} values are counted")
        else:
            rest.append(node)
    return rest, constants


def listed(values: Any) -> list[int]:
    """The integers of a constant or of an attribute, of which there may be none."""
    return [] if values is None else [int(each) for each in np.asarray(values).reshape(-1)]


def _axes(given: Mapping[str, Any], axes: tuple[np.ndarray, ...]) -> tuple[int, ...]:
    """Up to version 12 they were an attribute."""
    return tuple(listed(axes[0] if axes else given.get("axes")))


def _reshaped(given: Mapping[str, Any], array: np.ndarray, shape: np.ndarray) -> np.ndarray:
    kept = 0 if not given.get("allowzero", 0) else None
    return array.reshape([array.shape[axis] if size == kept else size for axis, size in enumerate(listed(shape))])


def _sliced(given: Mapping[str, Any], array: np.ndarray, *bounds: np.ndarray) -> np.ndarray:
    starts, ends, *rest = map(listed, bounds)
    axes = rest[0] if rest else [*range(len(starts))]
    steps = rest[1] if len(rest) > 1 else [1] * len(starts)
    index = [slice(None)] * array.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        # Behind the first value, from which a negative step counts down, is no index of Python's.
        index[axis] = slice(start, None if step < 0 and end < -array.shape[axis] else end, step)
    return array[tuple(index)]


def _zeros(given: Mapping[str, Any], shape: np.ndarray) -> np.ndarray:
    sizes = listed(shape)
    if len(sizes) != 1 or not 0 <= sizes[0] <= _MOST_COUNTED:
        raise ValueError(f"a constant of shape {sizes}")
    return np.full(sizes, listed(given.get("value", [0]))[0])


#: What changes no value, but its shape, and so copies nothing, however often it stands there.
_SHAPED: dict[str, Callable[..., np.ndarray]] = {
    "Identity": lambda given, array: array,
    "Reshape": _reshaped,
    "Squeeze": lambda given, array, *axes: array.squeeze(_axes(given, axes) or None),
    "Unsqueeze": lambda given, array, *axes: np.expand_dims(array, _axes(given, axes)),
}

#: What PyTorch's older exporter writes to turn the pads of `torch.nn.functional.pad` around.
_COUNTED: dict[str, Callable[..., np.ndarray]] = {
    "Cast": lambda given, array: array,
    "Concat": lambda given, *parts: np.concatenate(parts, given["axis"]),
    "ConstantOfShape": _zeros,
    "Slice": _sliced,
    "Transpose": lambda given, array: array.transpose(given.get("perm")),
}
