"""Comparing a network in every backend, on real images, with the NumPy float64 reference.

Each backend runs in its own process, one after another, so that timings are not disturbed and a backend that is
missing, crashes, is killed or hangs affects only its own result.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from msgspec.structs import replace

from resnet_core.analysis import parameters, state, tap_shapes, totals
from resnet_core.architecture import output_name, taps
from resnet_core.backend import DEVICES, REFERENCE, unknown_backend, usual_backends
from resnet_core.backend import backends as registered
from resnet_core.comparison import gradients
from resnet_core.comparison.conditioning import amplified
from resnet_core.comparison.result import BackendResult, Comparison
from resnet_core.data.prepare import sample_images
from resnet_core.data.shipped import shipped_images, shipped_model
from resnet_core.errors import InputError, MissingBackendError, ResNetError, require_choice
from resnet_core.initialization import probe_weights
from resnet_core.numerics import relative_error
from resnet_core.preparation import Preparation, standard_preparation
from resnet_core.spec_files import Source
from resnet_core.spec_files import spec as read_spec
from resnet_core.specification import ResNetSpec
from resnet_core.tolerances import TOLERANCES
from resnet_core.training.recipe import check_trainable
from resnet_core.weights import DTYPES, Weights, cast, check_weights, some
from resnet_core.workers import TIME_LIMIT
from resnet_core.workers.backend_process import BackendProcess
from resnet_core.workers.child import Arrays

LEVELS = ("shapes", "logits", "gradients", "training")

#: Number of images in the batch that is compared and timed.
BATCH = 4

#: A steady time is the median of this many calls, or of as many as fit into this many seconds.
REPEATS, BUDGET = 10, 8.0


def compare(
    spec: Source | None = None,
    backends: Sequence[str] | str | None = None,
    *,
    device: str = "auto",
    level: str = "logits",
    dtype: str | None = None,
    weights: Mapping[str, np.ndarray] | None = None,
    preparation: Preparation | None = None,
    pythons: Mapping[str, str] | None = None,
    time_limit: float = TIME_LIMIT,
    progress: Callable[[str], None] = lambda message: None,
) -> Comparison:
    """Build a network in every backend, each in its own process, and compare each with the NumPy float64 reference.

    - `spec`: a ResNetSpec, a name or a file; by default the shipped trained network, on 100 test pictures.
    - `backends`: their names; by default all that are registered, but for those that want to be named (`ON_REQUEST`),
      and those not installed do not count.
    - `device`: "auto", "cpu" or "gpu".
    - `level`: "shapes", "logits" (with every tap), "gradients" or "training"; each includes the ones before it.
    - `dtype`: "float32" or "float64"; by default float32, or float64 for gradients and training. A backend without
      exact float64 uses float32.
    - `weights`: neutral weights; by default ones that expose every mapping error (`probe_weights`).
    - `preparation`: how the pictures become images; by default `standard_preparation` at the spec's size.
    - `pythons`: {backend: path of its own Python interpreter}.
    - `time_limit`: seconds for one request to one backend.
    - `progress`: called with a message before each backend.

    A backend that is missing or fails is in the result, with its error. Raises InputError for bad arguments,
    MissingBackendError if no backend is installed at all, WorkerError if the reference itself fails.
    """
    names = chosen_backends(backends)
    require_choice("level", level, LEVELS)
    dtype = dtype or ("float64" if level in ("gradients", "training") else "float32")
    require_choice("dtype", dtype, DTYPES)
    require_choice("device", device, DEVICES)
    for name in pythons or {}:
        if name not in names:
            raise InputError(f"pythons: received one for {name!r}; the compared backends are {', '.join(names)}")
    case = _case(spec, weights, preparation, level, device, dtype, time_limit)
    reference: Arrays = {}
    if level != "shapes":
        progress(f"{REFERENCE}: the reference in float64")
        reference = _reference(case, case.images)
    truth = None
    if level in ("gradients", "training"):
        truth = gradients.Truth(case.spec, case.weights, case.images, trains=level == "training", limit=time_limit)
        truth.at_full_width()
    results = {}
    for name in names:
        progress(f"{name}: build, run, compare")
        results[name] = _run_backend(name, case, reference, truth, (pythons or {}).get(name))
    if backends is None and all(result.missing for result in results.values()):
        lines = "; ".join(str(result.error) for result in results.values())
        raise MissingBackendError(
            f"no backend is installed, so there is nothing to compare: {lines or 'none is registered'}"
        )
    return Comparison(
        spec=case.spec,
        level=level,
        dtype=dtype,
        asked_device=device,
        reference=f"{REFERENCE} float64",
        batch=len(case.images),
        backends=results,
        named=backends is not None,
        amplified=amplified(results.values(), reference, case.images, partial(_reference, case)),
    )


def chosen_backends(backends: Sequence[str] | str | None) -> list[str]:
    """The backends by these names, or the usual ones. Raises InputError for the reference and for unknown ones."""
    known = [name for name in registered() if name != REFERENCE]
    if backends is None:
        return usual_backends()
    names = [backends] if isinstance(backends, str) else list(backends)
    for name in names:
        if name == REFERENCE:
            raise InputError(
                f"backends: {REFERENCE} is the reference and always runs; name the others: {', '.join(known)}"
            )
        if name not in known:
            raise InputError(unknown_backend("backends", name, known))
    if not names:
        raise InputError(f"backends: received none; registered are {', '.join(known) or 'none'}")
    return list(dict.fromkeys(names))


@dataclass(frozen=True)
class _Case:
    """What every backend computes, and how."""

    spec: ResNetSpec
    weights: Weights
    images: np.ndarray
    labels: np.ndarray | None
    level: str
    device: str
    dtype: str
    time_limit: float


def _case(
    spec: Source | None,
    weights: Mapping[str, np.ndarray] | None,
    preparation: Preparation | None,
    level: str,
    device: str,
    dtype: str,
    time_limit: float,
) -> _Case:
    labels = None
    if spec is None:
        if weights is not None:
            raise InputError("weights: received some without a spec; name the network they are for")
        checked, network = shipped_model()
        images, labels = shipped_images()
    else:
        network = read_spec(spec)
        checked = probe_weights(network) if weights is None else check_weights(weights, state(network))
        images = sample_images(_fitting(preparation, network), BATCH)
    if level == "training":
        check_trainable(network)
    return _Case(network, checked, images.astype(np.float32), labels, level, device, dtype, time_limit)


def _fitting(preparation: Preparation | None, spec: ResNetSpec) -> Preparation:
    """The given one at the spec's size, if it can be had at that size."""
    if preparation is None or (preparation.mean_picture is not None and preparation.size != spec.input_size):
        return standard_preparation(spec.input_size, spec.in_channels)
    return replace(preparation, size=spec.input_size)


def _reference(case: _Case, images: np.ndarray) -> Arrays:
    """{tap: array}, computed in NumPy."""
    with BackendProcess(REFERENCE, dtype="float64", time_limit=case.time_limit) as process:
        process.open()
        process.build(case.spec, case.weights, taps(case.spec))
        return process.predict(images)


def _run_backend(
    name: str, case: _Case, reference: Arrays, truth: gradients.Truth | None, python: str | None
) -> BackendResult:
    """The result of one backend. Any error in its process, or in judging it, becomes part of the result."""
    process = None
    try:
        with BackendProcess(name, python, device=case.device, dtype=case.dtype, time_limit=case.time_limit) as process:
            process.open(only_exact=True)
            return _judge(process, case, reference, truth)
    except MissingBackendError as error:
        return BackendResult(error=str(error), missing=True)
    except Exception as error:
        known = isinstance(error, ResNetError)
        ran = process if process is not None and process.versions else None
        return BackendResult(
            device=ran.device if ran else None,
            dtype=ran.dtype if ran else None,
            versions=ran.versions if ran else {},
            error=str(error) if known else f"{name}: {type(error).__name__}: {error}",
            bad_input=isinstance(error, InputError),
        )


def _judge(process: BackendProcess, case: _Case, reference: Arrays, truth: gradients.Truth | None) -> BackendResult:
    # Measure time first, on the plain model that a user would build, while nothing else is in the process.
    process.build(case.spec, case.weights)
    weights = process.get_weights()
    seconds, memory = process.time_predictions(case.images, repeats=REPEATS, budget=BUDGET)
    output = process.predict(case.images)["output"]
    process.build(case.spec, case.weights, taps(case.spec))
    found = process.predict(case.images)

    errors = {tap: _error(found.get(tap), true) for tap, true in reference.items()}
    if reference:  # the plain model's output counts as the last tap too
        last = output_name(case.spec)
        errors[last] = max(errors[last], _error(output, reference[last]))
    tolerance = TOLERANCES["output"][process.dtype]
    tolerances = dict.fromkeys(errors, tolerance)
    lines = [
        *_shape_errors(case.spec, weights, {"output": output, **found}, len(case.images)),
        *_value_errors(weights, cast(case.weights, process.dtype)),
    ]
    if truth is not None:
        verdict = gradients.judge(process, truth)
        errors |= verdict.max_error
        tolerances |= verdict.tolerances
        lines += verdict.problems
    return BackendResult(
        device=process.device,
        dtype=process.dtype,
        versions=process.versions,
        tolerance=tolerance,
        parameters=_count(weights, parameters(case.spec)),
        state=_count(weights),
        seconds=seconds,
        peak_memory_bytes=memory,
        output_shape=output.shape,
        accuracy=_accuracy(output, case.labels),
        max_error=errors,
        tolerances=tolerances,
        shape_errors=tuple(lines),
    )


def _error(found: np.ndarray | None, reference: np.ndarray) -> float:
    return float("inf") if found is None else relative_error(found, reference)


def _accuracy(output: np.ndarray, labels: np.ndarray | None) -> float | None:
    if labels is None or output.shape[:-1] != labels.shape:
        return None
    return float((output.argmax(-1) == labels).mean())


def _shape_errors(spec: ResNetSpec, weights: Weights, found: Arrays, batch: int) -> list[str]:
    """A line for each difference from the names, shapes and counts that the core computes."""
    shapes, expected = {name: array.shape for name, array in weights.items()}, state(spec)
    lines = [
        f"{name}: {_listed(shapes.get(name))}, expected {_listed(expected.get(name))}"
        for name in sorted(expected.keys() | shapes.keys())
        if expected.get(name) != shapes.get(name)
    ]
    taps = tap_shapes(spec)
    for tap, shape in {"output": taps[output_name(spec)], **taps}.items():
        received = found[tap].shape if tap in found else None
        if received != (batch, *shape):
            lines.append(f"{tap}: {_listed(received)}, expected {[batch, *shape]}")
    counts = totals(spec)
    if (_count(weights, parameters(spec)), _count(weights)) != (counts.parameters, counts.state):
        lines.append(f"{_count(weights)} values of state, expected {counts.state}")
    return lines


def _value_errors(found: Weights, given: Weights) -> list[str]:
    """A line if `get_weights` does not return, bit for bit, what the model was built with."""
    shared = [name for name, array in given.items() if name in found and found[name].shape == array.shape]
    if not (other := [name for name in shared if not np.array_equal(found[name], given[name])]):
        return []
    return [f"get_weights: {len(other)} of {len(given)} tensors are not those given ({some(other)})"]


def _count(weights: Weights, names: Container[str] | None = None) -> int:
    return sum(array.size for name, array in weights.items() if names is None or name in names)


def _listed(shape: tuple[int, ...] | None) -> list[int] | None:
    return None if shape is None else list(shape)
