"""The backend contract, which every framework's package keeps, and how packages are found.

A backend is a package with the attributes and verbs of `Backend`, registered as an entry point of the group
`resnet_core.backends`. The built-in ones are found in the same way as anyone else's. Importing such a package
imports no framework; calling its verbs does. `resnet conformance NAME` checks a package against this contract.

A backend may import only the modules in `OPEN_TO_BACKENDS` from the core. Changes to them that would affect a
backend always come with a new `INTERFACE` version.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, cast

from resnet_core.errors import BackendError, InputError, MissingBackendError, ResNetError, likely
from resnet_core.specification import ResNetSpec
from resnet_core.tree import Chain

if TYPE_CHECKING:
    import numpy as np

    from resnet_core.resident import Resident
    from resnet_core.weights import Weights

GROUP = "resnet_core.backends"

#: The version of this contract; a package declares the one it keeps. With 2 came taps by path (`tap_paths`), twelve
#: more kinds of nodes, and parts of a step's inputs that are inputs themselves.
INTERFACE = 2

#: The backend that is the reference for all others.
REFERENCE = "numpy"

#: The devices that `configure` accepts.
DEVICES = ("auto", "cpu", "gpu")

#: What a backend may import from the core, as `resnet_core.NAME`.
OPEN_TO_BACKENDS = (
    "analysis", "architecture", "backend", "engines", "errors", "expressions", "folding", "inputs", "layouts",
    "numerics", "outline", "padding", "programs.training_text", "resident", "rewrite", "source_text", "specification",
    "tap_paths", "training.contract", "training.parallel.group", "training.parallel.jax_processes",
    "training.parallel.place", "training.parameters", "training.recipe", "training.running_variance", "tree",
    "weights", "windows", "xla_forms",
)  # fmt: skip


class Backend(Protocol):
    """A framework's package: its declarations and its verbs.

    For every verb: images and returned feature maps are (batch, height, width, channels), whatever the native
    layout; weights are {neutral name: array} in neutral layout (`resnet_core.tree`). Returned arrays are copies.
    Only `configure` changes anything global: the other verbs preserve the random state of the framework, Python and
    NumPy, and the mode (training or evaluation) of every module of a model.

    Raises InputError, with a one-line message, for images of the wrong rank, kind or number of channels, or too small
    for the network; for an unknown tap; for a node of the tree that the backend cannot lower; for a dtype other
    than "float32" and "float64" and its `HALF_DTYPES`; and where a model or Trainer of half precision would be
    trained. Raises WeightsError, and changes nothing, if weights are not exactly the tree's
    tensors (names, shapes, dtype, finite, no variance below 0). `resnet_core.inputs` and
    `resnet_core.weights.check_weights` raise these errors.
    """

    __name__: str

    INTERFACE: int
    """The version of this contract that the package keeps: 2."""

    FRAMEWORK: Mapping[str, str]
    """{import name: distribution} of what must be installed. Only if one of these is absent is a backend "not
    installed"; any other failure, including an ImportError in the package, makes it a failed backend. The pip hint
    names the extra of the package's distribution that has the backend's name, or else these distributions."""

    ENVIRONMENT: Mapping[str, str]
    """Environment variables to set before a process of this framework starts. The user's own take precedence."""

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

        The same as `build_tree` on the spec's layer tree.
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
        """A native model of a layer tree with these weights, for images of any size with `channels` channels.

        Called natively, it returns the output of the tree's last child, or {tap: output} when built with taps
        (`tap_paths.tap_nodes`). `dtype` applies to parameters, statistics and arithmetic; None means
        float32, in Keras its global dtype policy. The weights must have this dtype, in mixed precision that of the
        variables. The model remembers its tree. Every number of the tree is passed to the framework explicitly:
        nothing is left to a default.

        "bfloat16" and "float16" (of a backend whose `HALF_DTYPES` has them) are for inference: the model is what
        `model.to(torch.bfloat16)`, Keras' `dtype="bfloat16"` or Flax' `param_dtype=jnp.bfloat16` make. NumPy knows
        no bfloat16, so the arrays that go in and come out are float32: weights are rounded on their way in, to
        nearest, ties to even; one that overflows float16 is a WeightsError. What `get_weights` and `predict` return
        has half precision's values.
        """

    def get_weights(self, model: Any) -> Weights:
        """Parameters and running statistics: every tensor of the tree, in tree order and the model's dtype.

        Of half precision they are float32 arrays.

        This includes the tensors that come after the last tap of a model built with taps.
        """

    def set_weights(self, model: Any, weights: Mapping[str, np.ndarray]) -> None:
        """Copy a complete set of weights, in the model's dtype, into the model; if they do not fit, nothing changes.

        For a model of half precision they are float32 arrays, and rounded.
        """

    def predict(self, model: Any, images: np.ndarray) -> Any:
        """The output in evaluation mode, or {tap: array} when built with taps, in the model's dtype.

        (The NumPy reference always returns float64; half precision comes as float32.) An empty batch gives empty
        arrays of the right shape.
        """

    def modes(self, model: Any) -> Any:
        """A comparable snapshot of which modules are in training mode; {} if models have no mode."""

    def configure(self, device: str = "cpu", dtype: str = "float32") -> str:
        """Set up the process before its first model. `device` is "cpu", "gpu" or "auto"; returns "cpu" or "gpu".

        float32 then means true float32: no TF32 or other reduced precision. With the dtype "tf32", products of float32
        models round their factors to ten bits of mantissa, on a GPU. Raises InputError for "gpu" if there is none, and
        for "tf32" on a CPU.
        """

    def exact_float64(self) -> bool:
        """Whether float64 models compute in float64 throughout. If False, float64 is never requested.

        May be called before `configure`.
        """

    def peak_device_memory(self) -> int:
        """Peak memory of tensors on the GPU in bytes; 0 on a CPU."""

    def random_state(self) -> Any:
        """A comparable snapshot of the framework's global random state; None if it has none."""

    def versions(self) -> dict[str, str]:
        """{package: version} of the packages that do the computing."""


class TrainableBackend(Backend, Protocol):
    """A backend that can also train. An inference-only backend leaves out all of these."""

    Trainer: Callable[..., Any]
    """The class that implements `resnet_core.training.contract.Trainer`."""

    def train_forward(self, model: Any, images: np.ndarray, spec: ResNetSpec | None = None) -> Any:
        """Like `predict`, but normalized with batch statistics; the model's running statistics are updated.

        The running variance is updated with the unbiased batch variance, n / (n - 1) times the one that normalizes.
        Nothing is random: a Dropout or a DropPath passes everything, here and in `gradients`. (Its factors belong to a
        trainer's step, `training.contract.StepInputs`; a model that its owner trains draws its own.)
        `spec` is needed only for a model that has lost its tree, such as one loaded from a framework's own file.
        Raises InputError if a norm would see a single value per channel.
        """

    def gradients(self, model: Any, images: np.ndarray, cotangent: np.ndarray) -> Weights:
        """{parameter: gradient} of sum(output * cotangent) in training mode, for every parameter; changes no state.

        `cotangent` has the shape of the output, channels last. Frozen parameters are included. The derivative of
        max(x, 0) at 0 is 0; in a max-pool, the first of equal values gets the gradient. Raises as `train_forward`
        does.
        """


class NamedBackend(Backend, Protocol):
    """A backend that tells what its framework calls a model's tensors. Optional."""

    def native_tensors(self, model: Any) -> dict[str, tuple[str, tuple[int, ...]]]:
        """{neutral name: (the framework's own name, its shape there)} of every tensor of the model, in tree order.

        The own name is the one by which the framework's own files and listings know the tensor.
        """


class FastBackend(Protocol):
    """A backend that knows how its framework computes a network fastest. Optional."""

    def fast(self, model: Any, *, compiled: bool = True) -> Any:
        """The same network for inference alone, as fast as the framework computes it here; the model is unchanged.

        A native model with the same taps and dtype, which `predict` takes and whose outputs differ by rounding alone:
        norms are folded into convolutions (`folding.folded`) unless a tap lies between the two. It may be the model
        itself, where nothing is left to do. Without `compiled`, what takes seconds to minutes at the first prediction
        is left out. Raises InputError for a model that has lost
        its tree.
        """


class ResidentBackend(Protocol):
    """A backend whose device can be timed by itself. Optional."""

    def resident(self, model: Any, images: np.ndarray) -> contextlib.AbstractContextManager[Resident]:
        """The model, in evaluation mode, and the images on its device, where they are when the block begins.

        What `predict` computes for them, without bringing them there. Afterward the model has its earlier mode. Raises
        InputError as `predict` does; the images are at least one.
        """


class ParallelBackend(TrainableBackend, Protocol):
    """A backend of which several processes train one network together. Optional.

    `ParallelTrainer`, the class that implements `resnet_core.training.parallel.contract.ParallelTrainer`, and:
    """

    ParallelTrainer: Callable[..., Any]

    def join(self, place: Any, device: str) -> Any:
        """The `training.parallel.group.Group` of all processes, which have met, each at its `Place`.

        Comes after `configure`, which returned `device`, and before the first model. Waits until all have called it.
        """


def _verbs(protocol: type) -> dict[str, inspect.Signature]:
    return {
        name: inspect.signature(function)
        for name, function in vars(protocol).items()
        if inspect.isfunction(function) and not name.startswith("_")
    }


#: {verb: its signature}, including `self`: what every backend has, what one that trains has, what any may have.
REQUIRED, OPTIONAL = _verbs(Backend), _verbs(TrainableBackend)
EXTRAS = _verbs(NamedBackend) | _verbs(FastBackend) | _verbs(ResidentBackend) | _verbs(ParallelBackend)

#: Where the built-in packages keep their verbs: {verb: file}.
HOMES = {
    **dict.fromkeys(("build", "build_tree"), "model"),
    **dict.fromkeys(("get_weights", "native_tensors", "set_weights"), "weights"),
    **dict.fromkeys(("predict", "modes"), "inference"),
    **dict.fromkeys(("fast", "resident"), "speed"),
    **dict.fromkeys(("train_forward", "gradients"), "differentiation"),
    "Trainer": "trainer",
    **dict.fromkeys(("configure", "exact_float64", "peak_device_memory", "random_state", "versions"), "runtime"),
}

#: The same for a package of which several processes train one network.
PARALLEL_HOMES = dict.fromkeys(("ParallelTrainer", "join"), "parallel")


def backends() -> list[str]:
    """Names of all registered backends, whether or not their frameworks are installed."""
    return sorted({entry.name for entry in _registered()})


@cache
def _registered() -> tuple[EntryPoint, ...]:
    """The entry points of this process; to look through what is installed takes 15 ms each time."""
    return tuple(entry_points(group=GROUP))


def usual_backends() -> list[str]:
    """The registered backends that a comparison takes unless others are named."""
    return [name for name in backends() if name != REFERENCE and not _on_request(name)]


def _on_request(name: str) -> bool:
    try:
        return bool(declared(name, "ON_REQUEST", False))
    except ResNetError:
        return False  # what is wrong with it is told where it is used


def first_installed(preferred: str | None = None) -> str:
    """The first backend, by name, whose framework is installed: `preferred` before all others, the reference last.

    Those that declare themselves `ON_REQUEST` come just before the reference.

    Raises MissingBackendError if none is.
    """
    for name in sorted(backends(), key=lambda name: (name != preferred, name == REFERENCE, _on_request(name), name)):
        with contextlib.suppress(ResNetError):  # a broken one is no choice
            if all(importlib.util.find_spec(framework) for framework in _package(name)[1].FRAMEWORK):
                return name
    raise MissingBackendError("no backend is installed; to install all: pip install 'resnet-core[all]'")


#: In which a framework is imported; a command drops what is written to standard error meanwhile.
importing: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext


@cache
def load_backend(name: str) -> Backend:
    """The backend's package, with its names and signatures checked. Imports the framework.

    Raises InputError for an unknown name or two packages with the same name, MissingBackendError (with the pip
    command) if its framework is not installed, BackendError if the package fails or does not keep the contract.
    """
    module = _installed(name)
    with importing():
        for verb, signature in REQUIRED.items():
            _check_verb(name, module, verb, signature, required=True)
        for verb, signature in {**OPTIONAL, **EXTRAS}.items():
            _check_verb(name, module, verb, signature, required=False)
    return cast(Backend, module)


def _installed(name: str) -> ModuleType:
    """The backend's package, if its framework is installed; that is not imported yet."""
    entry, module = _package(name)
    for framework, distribution in module.FRAMEWORK.items():
        if importlib.util.find_spec(framework) is None:
            pip = _pip_line(name, entry, module.FRAMEWORK)
            raise MissingBackendError(f"backend {name} needs {distribution}, which is not installed: {pip}")
    return module


def load_verb(name: str, verb: str) -> Callable[..., Any]:
    """One verb of a backend beyond the contract, such as `read_state_dict`; only its own file is imported.

    Raises as `load_backend` does, and InputError where the package has none.
    """
    return cast(Callable[..., Any], optional(cast(Backend, _installed(name)), verb))


def unknown_backend(what: str, name: str, known: Sequence[str]) -> str:
    """The line for a name that is not among the `known` ones, with the one that was probably meant."""
    meant = {name: name for name in known}
    for other in known:
        with contextlib.suppress(ResNetError):  # a broken package may say nothing
            meant |= dict.fromkeys(declared(other, "KNOWN_AS", ()), other)
    listed = ", ".join(known) or "none: this package is not installed (pip install -e .)"
    return f"{what}: received {name!r}; {likely(name.lower(), meant)}registered are {listed}"


def environment(name: str) -> dict[str, str]:
    """Environment variables for a process of this backend. Imports no framework. Raises as `load_backend` does."""
    return dict(_package(name)[1].ENVIRONMENT)


def declared(name: str, attribute: str, default: Any) -> Any:
    """What this backend's package declares beyond the contract; no framework is imported.

    - `KNOWN_AS`: other names that people use for it, for a hint.
    - `ON_REQUEST`: it is compared only where it is named, as a format to which networks are brought and not a framework
      in which they are written.
    - `QUICK_ENVIRONMENT`: environment variables that make small programs fast; `resnet conformance` sets them unless
      the user has.
    - `ONE_PROCESS`: why several processes cannot train a network, and what to do, where only what the backend computes
      with is the reason.
    - `HALF_DTYPES`: which of "bfloat16" and "float16" `build` and `build_tree` take.
    - `CONVOLUTION_DTYPES`: which dtypes of convolutions (`tree.Conv`) they can compute in, in a network of float32:
      ("bfloat16",). Trees that have such are not given to others.
    - `default_dtype()`: the dtype that weights must have where none is given, unless that is always float32.

    For conversions, each asked without the framework being set up:

    - `READS`: endings of the weight files that `read_state_dict(path)` reads and `write_state_dict(path, arrays)`
      writes; `READS_FOLDERS`: what lies in a folder that it reads. A `StateDict` says what lies beside them.
    - `NETWORKS`: endings of files that hold a whole network, for `read_network`, `write_network`, `is_network_of`,
      `run_network` and `network_files(path)`, the files beside it in which its weights are.
    - `PROGRAMS`: {format: module} of the libraries whose own networks `run_program` runs, as they are told.
    """
    return vars(_package(name)[1]).get(attribute, default)  # asking a lazy package would import its framework


def apply_environment(name: str) -> None:
    """Set the backend's environment variables in this process, except those that the user has set."""
    for variable, value in environment(name).items():
        os.environ.setdefault(variable, value)


def optional(backend: Backend, name: str) -> Any:
    """An optional verb, such as `gradients` or `Trainer`. Raises InputError if this backend lacks it."""
    if not callable(verb := getattr(backend, name, None)):
        raise InputError(f"package {backend.__name__} has no {name}, which is optional but needed here")
    return verb


def require_several(name: str, of: str = "processes") -> None:
    """Raise InputError, one line, for a backend of which several processes (or devices) cannot train one network.

    `of` is which of the two was asked for. No framework is imported. Raises as `load_backend` does for one that is
    none.
    """
    if reason := declared(name, "ONE_PROCESS", ""):
        raise InputError(f"{of}: {reason}")
    if not _exports(name, "join"):
        several = [other for other in backends() if _exports(other, "join")]
        others = [other for other in several if not declared(other, "ONE_PROCESS", "")]
        offering = f"use {' or '.join(others)}" if others else "none that is installed does"
        if of == "devices":  # which of those has them, only its framework's file says
            raise InputError(f"devices: backend {name} does not train on several; use one, or processes ({offering})")
        raise InputError(f"processes: backend {name} does not train in several processes; {offering}, or one process")


def require_convolution_dtype(name: str, dtype: str | None) -> None:
    """Raise InputError, one line, for a backend whose convolutions cannot compute in `dtype`; None is their network's.

    No framework is imported. Raises as `load_backend` does for one that is none.
    """
    if dtype is not None and dtype not in declared(name, "CONVOLUTION_DTYPES", ()):
        able = [other for other in backends() if dtype in declared(other, "CONVOLUTION_DTYPES", ())]
        offering = f"leave it out, or use {' or '.join(able)}" if able else "leave it out"
        raise InputError(f"convolution_dtype: backend {name} has no convolutions in {dtype}; {offering}")


def _exports(name: str, verb: str) -> bool:
    """Whether a package has a verb, without importing the verb's file."""
    module = _package(name)[1]
    return verb in vars(module) or verb in getattr(module, "__all__", ())


def lazy_exports(package: str, homes: Mapping[str, str] = HOMES) -> Callable[[str], Any]:
    """A package's `__getattr__` (PEP 562): a verb's file, and with it the framework, is imported on first use.

    `homes` is {verb: file}. A file must not have the name of a verb: once imported, it would shadow the verb.
    """

    def get(name: str) -> Any:
        module = sys.modules[package]
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name, obj=module)
        value = getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
        setattr(module, name, value)
        return value

    return get


def load_source(name: str) -> Callable[..., str]:
    """The backend's `source(spec, recipe=None) -> str`, in its file `source.py`; it imports no framework.

    Both are optional, the recipe and the file. Raises InputError for an unknown backend and for a package without the
    file, BackendError for one that fails.
    """
    _, module = _package(name)
    file = f"{module.__name__}.source"
    # A package of a single module has no files in it.
    if not hasattr(module, "__path__") or importlib.util.find_spec(file) is None:
        raise InputError(f"package {module.__name__} has no source, which is optional, and needed here")
    try:
        return cast(Callable[..., str], importlib.import_module(file).source)
    except Exception as error:
        raise BackendError(f"backend {name}: {file} cannot be imported: {_line(error)}") from error


def _package(name: str) -> tuple[EntryPoint, ModuleType]:
    """The entry point and the package, imported without its framework."""
    found = {entry.value: entry for entry in _registered() if entry.name == name}
    if not found:
        raise InputError(unknown_backend("backend", name, backends()))
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
    """Raise BackendError for a verb that is missing, cannot be imported or takes other arguments."""
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
    """`pip install "DISTRIBUTION[NAME]"`: pip decides which packages of the extra this platform needs."""
    extras = entry.dist.metadata.get_all("Provides-Extra") or [] if entry.dist else []
    if entry.dist and name in extras:
        return f'pip install "{entry.dist.name}[{name}]"'
    return "pip install " + " ".join(f'"{distribution}"' for distribution in framework.values())
