"""What a check is: a function that raises `Violation`, and how a check says what it saw.

A check's name is a sentence about a backend that keeps its contract; its docstring says more.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from resnet_core.backend import EXTRAS, OPTIONAL
from resnet_core.errors import InputError
from resnet_core.numerics import relative_error
from resnet_core.tolerances import TOLERANCES
from resnet_core.weights import DTYPES

#: What an inference-only backend leaves out.
TRAINING = (*OPTIONAL, "Trainer")
#: What a package declares that builds models in half precision.
HALF_PRECISION = "HALF_DTYPES"
#: And that lowers convolutions of another dtype than their network's.
CONVOLUTIONS = "CONVOLUTION_DTYPES"
#: All that a package may leave out.
LEFT_OUT = (*TRAINING, *EXTRAS, "ParallelTrainer", HALF_PRECISION, CONVOLUTIONS)


class Violation(Exception):  # noqa: N818  (what it is, not what went wrong here)
    """The contract is not kept. The message says what was received and what was expected."""


@dataclass(frozen=True, slots=True)
class Context:
    """Whom a check asks: a backend's package, or a proxy with a planted defect, and the dtype of the models."""

    backend: Any
    dtype: str

    def tolerance(self, quantity: str) -> float:
        """The largest error that still counts as equal."""
        return TOLERANCES[quantity][self.dtype]


@dataclass(frozen=True, slots=True)
class Check:
    """A check and what it is asked for: every case, in every dtype, of a backend that has what it needs.

    `fresh`: in a process of its own, which nobody has configured.
    """

    group: str
    function: Callable[..., None]
    cases: tuple[str, ...]
    dtypes: tuple[str, ...]
    needs: tuple[str, ...]
    fresh: bool

    @property
    def name(self) -> str:
        """The sentence."""
        return self.function.__name__.replace("_", " ")

    def __call__(self, context: Context, case: str) -> None:
        """Raise Violation where the contract is not kept."""
        self.function(context, *([case] if case else []))


#: {name: check}, in the order in which the kit runs them.
CHECKS: dict[str, Check] = {}


def check(
    group: str,
    *,
    cases: Iterable[str] = ("",),
    dtypes: tuple[str, ...] = DTYPES,
    needs: str = "",
    fresh: bool = False,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function (context) or, with `cases`, (context, case) a check of the kit.

    `needs` are some of `LEFT_OUT`, inputs of a step, or "grouped", what a ParallelTrainer says of itself.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        made = Check(group, function, tuple(cases), dtypes, tuple(needs.split()), fresh)
        assert made.name not in CHECKS, made.name
        CHECKS[made.name] = made
        return function

    return register


def expect(held: bool, message: str) -> None:
    """Raise Violation(message) unless the claim held."""
    if not held:
        raise Violation(message)


def expect_array(what: str, found: Any, dtype: str, shape: tuple[int, ...]) -> None:
    """It is an array of this dtype and shape."""
    expect(isinstance(found, np.ndarray), f"{what}: received {type(found).__name__}; expected a NumPy array")
    expect(found.shape == shape, f"{what}: received shape {found.shape}; expected {shape}")
    expect(found.dtype.name == dtype, f"{what}: received {found.dtype}; expected {dtype}")


def expect_close(what: str, found: Any, truth: np.ndarray, tolerance: float) -> None:
    """It is an array within the tolerance of the reference: max|a - b| / max|b|."""
    expect_array(what, found, getattr(found, "dtype", truth.dtype).name, truth.shape)
    error = relative_error(found, truth)
    expect(error <= tolerance, f"{what}: differs from the reference by {error:.2g}; allowed is {tolerance:g}")


def expect_same(what: str, found: Any, truth: Mapping[str, np.ndarray]) -> None:
    """A mapping with exactly these arrays: names and their order, shapes, dtypes, bits."""
    expect_names(what, found, truth)
    for name, value in truth.items():
        expect_array(f"{what}: {name}", found[name], value.dtype.name, value.shape)
        same = np.array_equal(found[name], value)
        expect(same, f"{what}: {name} has other values; expected the same bits")


def expect_names(what: str, found: Any, names: Iterable[str]) -> None:
    """A mapping with exactly these keys, in this order."""
    expect(isinstance(found, Mapping), f"{what}: received {type(found).__name__}; expected {{name: array}}")
    wanted, own = list(names), list(found)
    missing, more = [name for name in wanted if name not in own], [name for name in own if name not in wanted]
    expect(not missing and not more, f"{what}: missing {missing[:3]}, unknown {more[:3]}; of {len(wanted)} names")
    expect(own == wanted, f"{what}: received the names in another order than the layer tree's")


def expect_refusal(
    what: str, action: Callable[[], object], kind: type[Exception] = InputError, *, about: str = ""
) -> None:
    """The call raises this error of resnet_core.errors, in one line, which begins with what it is about."""
    try:
        action()
    except kind as error:
        expect(bool(str(error)) and "\n" not in str(error), f"{what}: received an error of several lines or none")
        expect(str(error).startswith(about), f"{what}: received {str(error)!r}; expected an error about {about}")
    except Exception as error:
        raise Violation(f"{what}: received {type(error).__name__}; expected {kind.__name__}") from error
    else:
        raise Violation(f"{what}: was accepted; expected {kind.__name__}")


@contextmanager
def untouched(backend: Any, what: str, model: Any = None) -> Iterator[None]:
    """What is inside changes no global random state, and no mode of the model."""

    def seen() -> dict[str, Any]:
        name, keys, *rest = np.random.get_state(legacy=True)
        found = {
            "the framework's random state": backend.random_state(),
            "Python's random state": random.getstate(),
            "NumPy's random state": (name, np.asarray(keys).tobytes(), *rest),
        }
        return found if model is None else {**found, "the model's mode": backend.modes(model)}

    before = seen()
    yield
    for name, state in seen().items():
        expect(state == before[name], f"{what}: changed {name}; expected it as it was")
