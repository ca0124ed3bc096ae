"""What a backend is: the contract that every framework's package keeps, and how a package is found.

A backend is a package with the attributes and verbs of `Backend`, registered as an entry point of the group
`resnet_core.backends`. The built-in ones follow the same rule as anyone else's. Importing such a package imports
no framework; its verbs do. `resnet conformance NAME` holds a package to everything that is said here.

A backend may import the modules of `OPEN_TO_BACKENDS` and nothing else of the core. They change in a way that a
backend would notice only when `INTERFACE` does.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any, Protocol, cast

import numpy as np

from resnet_core.errors import BackendError, InputError, MissingBackendError
from resnet_core.specification import ResNetSpec
from resnet_core.tree import Chain
from resnet_core.weights import Weights

GROUP = "resnet_core.backends"

#: The version of this contract; a package says which one it keeps.
INTERFACE = 1

#: What `configure` takes for a device.
DEVICES = ("auto", "cpu", "gpu")

#: What a backend may import of the core, as `resnet_core.NAME`.
OPEN_TO_BACKENDS = (
    "analysis", "architecture", "backend", "errors", "expressions", "inputs", "layouts", "numerics", "outline",
    "padding", "rewrite", "source_text", "specification", "training.contract", "training.recipe",
    "training.running_variance", "tree", "weights",
)  # fmt: skip


class Backend(Protocol):
    """A framework's package: what it declares, and its verbs.

    Everywhere: images are (batch, height, width, channels) and feature maps come out so, whatever the native
    layout; weights are {neutral name: array} in neutral layout (`resnet_core.tree`). Arrays that come out are
    copies. No verb but `configure` changes anything global: the framework's random state, Python's and NumPy's stay
    as they were, and so does the mode (training or evaluation) of every module of a model.

    Errors: InputError, one line, for images of another rank, kind or number of channels, or too small for the
    network; for an unknown tap; for a node of the tree that has no lowering here; for a dtype other than "float32"
    and "float64". WeightsError for weights that are not exactly the tree's tensors (names, shapes, dtype, finite, no
    variance below 0); nothing is changed then. `resnet_core.inputs` and `resnet_core.weights.check_weights` raise
    them.
    """

    __name__: str

    INTERFACE: int
    """The version of this contract that the package keeps: 1."""

    FRAMEWORK: Mapping[str, str]
    """{import name: distribution} of what must be installed. Only its absence is "not installed": whatever else
    fails, an ImportError of the package included, is the backend's failure. The hint for pip is the extra of the
    package's own distribution that is named like the backend, or these distributions."""

    ENVIRONMENT: Mapping[str, str]
    """Environment variables that a process of this framework wants before it starts. The user's own go first."""

    def build(
        self,
        spec: ResNetSpec,
        *,
        weights: Mapping[str, np.ndarray] | None = None,
        seed: int = 0,
        taps: tuple[str, ...] = (),
        dtype: str | None = None,
    ) -> Any:
        """A native model of the spec with these weights, or with the initial weights for `seed` (`initialize`).

        What `build_tree` gives for the spec's layer tree.
        """

    def build_tree(
        self,
        tree: Chain,
        *,
        channels: int,
        weights: Mapping[str, np.ndarray],
        taps: tuple[str, ...] = (),
        dtype: str | None = None,
    ) -> Any:
        """A native model of a layer tree for images of `channels`, with these weights; it takes any image size.

        Called natively, it returns the output of the tree's last child, or {tap: output} when built with taps
        (`architecture.tap_nodes`). `dtype` is that of parameters, statistics and arithmetic; None means float32. The
        weights must have it. The model remembers its tree. Every number of the tree is given to the framework:
        nothing is left to a default.
        """

    def get_weights(self, model: Any) -> Weights:
        """Parameters and running statistics, every tensor of the tree in its order, in the model's dtype.

        Also of a model that was built with early taps.
        """

    def set_weights(self, model: Any, weights: Mapping[str, np.ndarray]) -> None:
        """Copy weights into the model, of its dtype and complete; nothing is changed where they do not fit."""

    def predict(self, model: Any, images: np.ndarray) -> Any:
        """The output in evaluation mode, or {tap: array} when built with taps, in the model's dtype.

        (The NumPy reference always answers in float64.) An empty batch gives empty arrays of the right shape.
        """

    def modes(self, model: Any) -> Any:
        """What is in training mode, module by module, in a form that can be compared; {} where models have no mode."""

    def configure(self, device: str = "cpu", dtype: str = "float32") -> str:
        """Set the process up before its first model. `device` is "cpu", "gpu" or "auto"; returns "cpu" or "gpu".

        float32 then means float32: no TF32, no reduced products. Raises InputError for "gpu" where there is none.
        """

    def exact_float64(self) -> bool:
        """Whether float64 models compute in float64 throughout. One that answers False is never asked for float64.

        It may be asked before `configure`.
        """

    def peak_device_memory(self) -> int:
        """Bytes that tensors took at most on the GPU; 0 on a CPU."""

    def random_state(self) -> Any:
        """The framework's global random state in a form that can be compared; None where it has none."""

    def versions(self) -> dict[str, str]:
        """{package: version} of what computes here."""


class TrainableBackend(Backend, Protocol):
    """A backend that can also train. One that only predicts leaves all of this out, and nothing else."""

    Trainer: Callable[..., Any]
    """The class of `resnet_core.training.contract.Trainer`."""

    def train_forward(self, model: Any, images: np.ndarray, spec: ResNetSpec | None = None) -> Any:
        """What `predict` returns, but normalized by the batch; the model's running statistics are updated.

        The running variance learns the unbiased batch variance, n / (n - 1) times the one that normalizes. `spec` is
        needed only for a model that has lost its tree, as one loaded from a framework's own file has. Raises
        InputError where a norm would see a single value per channel.
        """

    def gradients(self, model: Any, images: np.ndarray, cotangent: np.ndarray) -> Weights:
        """{parameter: gradient} of sum(output * cotangent) in training mode, of every parameter; no state is changed.

        `cotangent` has the shape of the output, channels last. Frozen parameters are included. The derivative of
        max(x, 0) at 0 is 0; a tie in a max-pool goes to the first. Errors as `train_forward`.
        """


def _verbs(protocol: type) -> dict[str, inspect.Signature]:
    return {
        name: inspect.signature(function)
        for name, function in vars(protocol).items()
        if inspect.isfunction(function) and not name.startswith("_")
    }


#: {verb: its signature}, `self` included.
REQUIRED, OPTIONAL = _verbs(Backend), _verbs(TrainableBackend)

#: Where the built-in packages keep their verbs: {verb: file}.
HOMES = {
    **dict.fromkeys(("build", "build_tree"), "model"),
    **dict.fromkeys(("get_weights", "set_weights"), "weights"),
    **dict.fromkeys(("predict", "modes"), "inference"),
    **dict.fromkeys(("train_forward", "gradients"), "differentiation"),
    "Trainer": "trainer",
    **dict.fromkeys(("configure", "exact_float64", "peak_device_memory", "random_state", "versions"), "runtime"),
}


def backends() -> list[str]:
    """Names of all registered backends, installed frameworks or not."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def load_backend(name: str) -> Backend:
    """The backend's package, its names and signatures checked. Imports the framework.

    Raises InputError for an unknown name or two packages of one name, MissingBackendError (with the pip line) where
    its framework is not installed, BackendError for a package that fails or does not keep the contract.
    """
    entry, module = _package(name)
    for framework, distribution in module.FRAMEWORK.items():
        if importlib.util.find_spec(framework) is None:
            pip = _pip_line(name, entry, module.FRAMEWORK)
            raise MissingBackendError(f"backend {name} needs {distribution}, which is not installed: {pip}")
    for verb, signature in REQUIRED.items():
        _check_verb(name, module, verb, signature, required=True)
    for verb, signature in OPTIONAL.items():
        _check_verb(name, module, verb, signature, required=False)
    return cast(Backend, module)


def environment(name: str) -> dict[str, str]:
    """Environment variables that a process of this backend wants. No framework is imported."""
    return dict(_package(name)[1].ENVIRONMENT)


def apply_environment(name: str) -> None:
    """For a command that loads a framework into its own process: set what the user has not set."""
    for variable, value in environment(name).items():
        os.environ.setdefault(variable, value)


def optional(backend: Backend, name: str) -> Any:
    """What a backend need not have, such as `gradients` or `Trainer`. Raises InputError where this one lacks it."""
    if not callable(found := getattr(backend, name, None)):
        raise InputError(f"package {backend.__name__} has no {name}, which is optional, and needed here")
    return found


def lazy_exports(package: str, homes: Mapping[str, str] = HOMES) -> Callable[[str], Any]:
    """A package's `__getattr__` (PEP 562): a verb's file, and with it the framework, is imported when it is asked for.

    `homes` is {verb: file}. A file must not be called like a verb: once imported, it would take the verb's place.
    """

    def get(name: str) -> Any:
        module = sys.modules[package]
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name, obj=module)
        value = getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
        setattr(module, name, value)
        return value

    return get


def build(
    spec: ResNetSpec,
    backend: str,
    *,
    weights: Mapping[str, np.ndarray] | None = None,
    seed: int = 0,
    taps: tuple[str, ...] = (),
    dtype: str | None = None,
) -> Any:
    """A native model of the named backend: an nn.Module, a keras.Model, an nnx.Module …

    With `weights` (neutral) it holds those, else the spec's initial weights for `seed`; with `taps` it returns
    {tap: value} instead of the logits. `dtype` is "float32" (as None) or "float64".
    """
    return load_backend(backend).build(spec, weights=weights, seed=seed, taps=taps, dtype=dtype)


def source(spec: ResNetSpec, backend: str) -> str:
    """The network as a program of the named backend's framework, complete and independent of this project.

    No framework is imported, so that none need be installed. Raises InputError for an unknown backend, for one whose
    package prints no programs, and for a network that has none; BackendError for a package that fails.
    """
    return load_source(backend)(spec)


def load_source(name: str) -> Callable[[ResNetSpec], str]:
    """`source(spec) -> str` of the backend's file `source.py`, which is optional and imports no framework.

    Errors as `source`.
    """
    _, module = _package(name)
    file = f"{module.__name__}.source"
    if importlib.util.find_spec(file) is None:
        raise InputError(f"package {module.__name__} has no source, which is optional, and needed here")
    try:
        return cast(Callable[[ResNetSpec], str], importlib.import_module(file).source)
    except Exception as error:
        raise BackendError(f"backend {name}: {file} cannot be imported: {_line(error)}") from error


def _package(name: str) -> tuple[EntryPoint, ModuleType]:
    """The entry point and the package, imported without its framework."""
    found = {entry.value: entry for entry in entry_points(group=GROUP, name=name)}
    if not found:
        known = ", ".join(backends()) or "none: this package is not installed (pip install -e .)"
        raise InputError(f"backend: received {name!r}; registered are {known}")
    if len(found) > 1:
        raise InputError(f"backend: two packages register {name!r}: {', '.join(found)}; uninstall one")
    ((package, entry),) = found.items()
    try:
        module = importlib.import_module(package)
    except Exception as error:
        raise BackendError(f"backend {name}: package {package} cannot be imported: {_line(error)}") from error
    for attribute, kind in (("INTERFACE", int), ("FRAMEWORK", Mapping), ("ENVIRONMENT", Mapping)):
        if not isinstance(getattr(module, attribute, None), kind):
            raise BackendError(f"backend {name}: package {package} lacks {attribute}; see resnet_core.backend.Backend")
    if module.INTERFACE != INTERFACE:
        raise BackendError(
            f"backend {name}: package {package} keeps version {module.INTERFACE} of the interface; this is {INTERFACE}"
        )
    return entry, module


def _check_verb(name: str, module: ModuleType, verb: str, contract: inspect.Signature, *, required: bool) -> None:
    """Raise BackendError for a verb that is not there, cannot be imported or takes other arguments."""
    try:
        signature = inspect.signature(getattr(module, verb))
    except Exception as error:
        if not (isinstance(error, AttributeError) and error.name == verb and error.obj is module):
            raise BackendError(f"backend {name}: {verb} cannot be imported: {_line(error)}") from error
        if required:
            raise BackendError(f"backend {name}: package {module.__name__} lacks {verb}") from error
        return
    own, expected = list(signature.parameters.values()), list(contract.parameters.values())[1:]
    more = own[len(expected) :]
    same = [_key(parameter) for parameter in own[: len(expected)]] == [_key(parameter) for parameter in expected]
    if not same or any(parameter.default is parameter.empty for parameter in more):
        wanted = ", ".join(str(parameter.replace(annotation=parameter.empty)) for parameter in expected)
        received = ", ".join(str(parameter.replace(annotation=parameter.empty)) for parameter in own)
        raise BackendError(f"backend {name}: received {verb}({received}); expected {verb}({wanted})")


def _key(parameter: inspect.Parameter) -> tuple[Any, ...]:
    return parameter.name, parameter.kind, parameter.default


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split()) or 'no message'}"


def _pip_line(name: str, entry: EntryPoint, framework: Mapping[str, str]) -> str:
    """`pip install "DISTRIBUTION[NAME]"`: pip itself decides what of the extra this platform needs."""
    extras = entry.dist.metadata.get_all("Provides-Extra") or [] if entry.dist else []
    if entry.dist and name in extras:
        return f'pip install "{entry.dist.name}[{name}]"'
    return "pip install " + " ".join(f'"{distribution}"' for distribution in framework.values())
