"""What a backend is, and how one is found.

A backend is a package that exports the functions of `VERBS`, registered as an entry point of the group
`resnet_core.backends`. The built-in ones follow the same rule as anyone else's. Importing this module
imports no framework; loading a backend imports that one's.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

import numpy as np

from resnet_core.analysis import state
from resnet_core.errors import InputError, MissingBackendError
from resnet_core.initialization import initialize
from resnet_core.specification import ResNetSpec
from resnet_core.weights import Weights, check_weights, require_dtype

GROUP = "resnet_core.backends"

#: What `configure` takes for a device.
DEVICES = ("auto", "cpu", "gpu")

#: What a backend package must export; one that can differentiate adds `gradients` and `Trainer`, and
#: `read_state_dict` reads its framework's own files. The built-in packages' docstrings say what each does.
VERBS = (
    "build",
    "get_weights",
    "set_weights",
    "predict",
    "train_forward",
    "configure",
    "exact_float64",
    "peak_device_memory",
    "synchronize",
    "versions",
)


def backends() -> list[str]:
    """Names of all registered backends, installed frameworks or not."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def load_backend(name: str) -> ModuleType:
    """The backend's package.

    Raises InputError for an unknown name or two packages of one name, MissingBackendError (with the pip
    line) where its framework is not installed.
    """
    found = {entry.value: entry for entry in entry_points(group=GROUP, name=name)}
    if not found:
        known = ", ".join(backends()) or "none: this package is not installed (pip install -e .)"
        raise InputError(f"backend: received {name!r}; registered are {known}")
    if len(found) > 1:
        raise InputError(f"backend: two packages register {name!r}: {', '.join(found)}; uninstall one")
    ((package, entry),) = found.items()
    try:
        module = importlib.import_module(package)
    except ModuleNotFoundError as error:
        # Only the framework's absence is "not installed": a module that this project has renamed is a failure.
        missing = (error.name or "").partition(".")[0]
        if missing in ("", package.partition(".")[0], "resnet_core"):
            raise
        raise MissingBackendError(
            f"backend {name} needs {error.name}, which is not installed: {_pip_line(name, entry)}"
        ) from error
    if lacking := [verb for verb in VERBS if not callable(getattr(module, verb, None))]:
        raise InputError(f"backend {name}: package {package} lacks {', '.join(lacking)}")
    return module


def optional(backend: ModuleType, name: str) -> Any:
    """What a backend need not have: `gradients` or `Trainer`. Raises InputError where this one lacks it."""
    if not callable(found := getattr(backend, name, None)):
        raise InputError(f"package {backend.__name__} has no {name}, which is optional, and needed here")
    return found


def build(
    spec: ResNetSpec,
    backend: str,
    *,
    weights: Mapping[str, np.ndarray] | None = None,
    seed: int = 0,
    taps: tuple[str, ...] = (),
    dtype: str = "float32",
) -> Any:
    """A native model of the named backend: an nn.Module, a keras.Model, an nnx.Module …

    With `weights` (neutral) it holds those, else the spec's initial weights for `seed`; with `taps` it
    returns {tap: value} instead of the logits.
    """
    return load_backend(backend).build(spec, weights=weights, seed=seed, taps=taps, dtype=dtype)


def starting_weights(spec: ResNetSpec, weights: Mapping[str, np.ndarray] | None, seed: int, dtype: str) -> Weights:
    """What a model is built with: the given weights, checked, or the initial ones. Used by every backend."""
    require_dtype(dtype)
    return initialize(spec, seed, dtype) if weights is None else check_weights(weights, state(spec), dtype)


def check_images(images: np.ndarray) -> np.ndarray:
    """Images as an array (batch, height, width, channels). Raises InputError for another rank or kind."""
    array = np.asarray(images)
    if array.ndim != 4 or array.dtype.kind not in "fiu":
        raise InputError(
            f"images: received {array.dtype} of shape {array.shape}; expected numbers of shape "
            "(batch, height, width, channels)"
        )
    return array


def _pip_line(name: str, entry: EntryPoint) -> str:
    """`pip install …` with the requirements of the extra that is named like the backend."""
    marker = f'extra == "{name}"'
    requires = (entry.dist.requires if entry.dist else None) or []
    wanted = [line.partition(";")[0].strip() for line in requires if marker in line.replace("'", '"')]
    return "pip install " + " ".join(f'"{requirement}"' for requirement in dict.fromkeys(wanted) or [name])
