"""What a worker answers for a backend, held to the contract: types, names, shapes, numbers.

Numbers that are wrong are for a comparison to find; what is refused here is what no comparison could be made with. All
of it is a WorkerError, one line that says what was answered and what was expected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import numpy as np

from resnet_core.errors import WorkerError
from resnet_core.weights import names_differ, some
from resnet_core.workers.child import Arrays, one_line

T = TypeVar("T")


@dataclass(frozen=True)
class Opened:
    """A backend that has been set up: what `configure` and `versions` returned, and its dtype."""

    device: str
    dtype: Literal["float32", "float64"]
    versions: dict[str, str]


@dataclass(frozen=True)
class Seconds:
    """Duration of the first prediction, and the median of `repeats` later ones."""

    first: float
    steady: float
    repeats: int


@dataclass(frozen=True)
class Timing:
    """Durations of `predict`, and the peak memory: what `peak_device_memory` returned, or the process had."""

    seconds: Seconds
    peak_memory_bytes: Annotated[int, msgspec.Meta(ge=0)]


def typed(task: str, answer: Any, kind: type[T]) -> T:
    """The answer to a task as a `kind`. Raises WorkerError, with the field, where it is another."""
    try:
        return msgspec.convert(answer, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        # The message names the field as `$.versions`.
        reason = one_line(str(error)).replace("$.", "").replace("`", "")
        raise WorkerError(f"{task}: {reason}; see resnet_core.backend.Backend") from None


def real(verb: str, arrays: Mapping[str, np.ndarray]) -> Arrays:
    """The arrays of real floating-point numbers that a verb returned."""
    for name, array in arrays.items():
        if array.dtype.kind != "f":
            raise WorkerError(f"{verb}: {some([name])} is {array.dtype}; expected real floating-point numbers")
    return dict(arrays)


def outputs(arrays: Mapping[str, np.ndarray], taps: Sequence[str]) -> Arrays:
    """{tap: array} of a model with these taps, or {"output": array} of one without, as `predict` returned it."""
    one = arrays.keys() == {"output"}
    if not taps and not one:
        names = some(list(arrays)) or "nothing"
        raise WorkerError(f"predict: received {{tap: array}} of {names}; expected one array, for a model without taps")
    if taps and (difference := names_differ(arrays, taps)):
        received = "one array" if one else difference
        raise WorkerError(f"predict: received {received}; expected {{tap: array}} of {', '.join(taps)}")
    return real("predict", arrays)


def logits(array: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Finite logits (batch, classes)."""
    if array.shape != shape:
        raise WorkerError(f"predict: received logits of shape {array.shape}; expected {shape}")
    if not np.isfinite(array).all():
        raise WorkerError("predict: the logits are not finite (NaN or infinity)")
    return array


def losses(array: np.ndarray | None, steps: int) -> np.ndarray:
    """The loss of every step."""
    if array is None or array.shape != (steps,):
        received = "none" if array is None else f"shape {array.shape}"
        raise WorkerError(f"Trainer.step: received losses of {received}; expected one of each of {steps} steps")
    return array
