"""The main job: one network in every backend, on real images, held against the NumPy float64 truth.

Every backend runs in a process of its own, one after the other, so that times are honest and a backend
that is missing, crashes, is killed or hangs is that backend's result and nobody else's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from resnet_core.analysis import state, tap_shapes, totals
from resnet_core.architecture import output_name, taps
from resnet_core.backend import DEVICES
from resnet_core.backend import backends as registered
from resnet_core.comparison import gradients
from resnet_core.data.images import sample_batch
from resnet_core.errors import InputError, MissingBackendError, ResNetError, WorkerError, require_choice
from resnet_core.initialization import probe_weights
from resnet_core.numerics import relative_error
from resnet_core.spec_files import to_json
from resnet_core.specification import ResNetSpec, to_fields
from resnet_core.weights import Weights, cast
from resnet_core.workers.parent import TIME_LIMIT, Worker

LEVELS = ("shapes", "logits", "gradients", "training")
REFERENCE = "numpy"

#: Largest error against the reference that still counts as equal, by dtype. Right code reaches 2e-15 and 1e-6.
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}

#: Images in the batch that is compared and timed.
BATCH = 4

#: A steady time is the median of this many calls, or of as many as fit into so many seconds.
REPEATS, BUDGET = 10, 8.0


def compare(
    spec: ResNetSpec,
    backends: Sequence[str] | None = None,
    *,
    device: str = "auto",
    level: str = "logits",
    dtype: str | None = None,
    weights: Weights | None = None,
    pictures: tuple[np.ndarray, np.ndarray] | None = None,
    pythons: Mapping[str, str] | None = None,
    time_limit: float = TIME_LIMIT,
    progress: Callable[[str], None] = lambda message: None,
) -> dict[str, Any]:
    """The comparison as JSON-ready values (README lists the keys).

    Without `backends`, all that are registered and installed; without `weights`, ones that show every
    mapping error (`probe_weights`); without `pictures` (images, labels), the shipped samples. With labels an
    entry says which share of them the backend got right (`accuracy`). Without `dtype`, float32 for outputs and
    float64 for gradients and training. An entry of `backends` has an `error` where that backend failed, and
    `missing` where it is not installed. Raises InputError for an unknown backend, device, level or dtype.
    """
    chosen = _chosen(backends)
    dtype = dtype or ("float64" if level in ("gradients", "training") else "float32")
    require_choice("level", level, LEVELS)
    require_choice("dtype", dtype, tuple(TOLERANCE))
    require_choice("device", device, DEVICES)
    for name in pythons or {}:
        if name not in chosen:
            raise InputError(f"--python: received {name!r}; the compared backends are {', '.join(chosen)}")
    images = sample_batch(spec.input_size, spec.in_channels, BATCH) if pictures is None else pictures[0]
    case = _Case(
        spec=spec,
        images=images.astype(np.float32),
        labels=None if pictures is None else pictures[1],
        weights=cast(probe_weights(spec) if weights is None else weights, dtype),
        level=level,
        device=device,
        dtype=dtype,
        time_limit=time_limit,
    )
    if level != "shapes":
        progress(f"{REFERENCE}: the reference in float64")
        case.reference, case.deeper = _reference(case)
    results = {}
    for name in chosen:
        progress(f"{name}: build, run, compare")
        results[name] = _run_backend(name, case, (pythons or {}).get(name))
    if backends is None:  # nobody asked for these by name: what is not installed is not compared
        _require_one(results)
    compared = [entry for entry in results.values() if backends is not None or not entry.get("missing")]
    devices = {entry["device"] for entry in compared if "device" in entry}
    return {
        "spec": to_fields(spec),
        "equal": all(entry.get("equal") for entry in compared),
        "level": level,
        "dtype": dtype,
        "device": devices.pop() if len(devices) == 1 else "mixed" if devices else device,
        "reference": f"{REFERENCE} float64",
        "batch": len(images),
        "backends": results,
    }


def _chosen(backends: Sequence[str] | None) -> list[str]:
    known = [name for name in registered() if name != REFERENCE]
    if backends is None:
        return known
    for name in backends:
        if name == REFERENCE:
            raise InputError(
                f"--backends: {REFERENCE} is the reference and always runs; name the others: {', '.join(known)}"
            )
        if name not in known:
            raise InputError(f"--backends: received {name!r}; registered are {', '.join(known) or 'none'}")
    if not backends:
        raise InputError(f"--backends: received none; registered are {', '.join(known) or 'none'}")
    return list(dict.fromkeys(backends))


def _require_one(results: Mapping[str, Mapping[str, Any]]) -> None:
    if all(entry.get("missing") for entry in results.values()):
        lines = "; ".join(str(entry["error"]) for entry in results.values())
        raise MissingBackendError(
            f"no backend is installed, there is nothing to compare: {lines or 'none is registered'}"
        )


@dataclass
class _Case:
    """What every backend is asked, and the truth."""

    spec: ResNetSpec
    images: np.ndarray
    labels: np.ndarray | None
    weights: Weights
    level: str
    device: str
    dtype: str
    time_limit: float
    reference: Weights = field(default_factory=dict)
    deeper: Weights = field(default_factory=dict)


def _reference(case: _Case) -> tuple[Weights, Weights]:
    """(taps, what the deeper levels measure) in NumPy."""
    with Worker() as engine:
        engine.call("open_backend", backend=REFERENCE, device="cpu", dtype="float64")
        weights, limit = cast(case.weights, "float64"), case.time_limit
        engine.call("build", weights, spec=to_json(case.spec), taps=list(taps(case.spec)), dtype="float64")
        outputs = engine.call("predict", {"images": case.images}, time_limit=limit)[1]
        if case.level == "logits":
            return outputs, {}
        asked = gradients.question(case.level, case.spec, case.images)
        return outputs, gradients.measure(
            engine, case.level, case.spec, weights, asked, dtype="float64", time_limit=limit
        )


def _run_backend(name: str, case: _Case, python: str | None) -> dict[str, Any]:
    """One entry of the result. Whatever happens in the backend's process ends here."""
    entry: dict[str, Any] = {}
    try:
        with Worker(python) as engine:
            limit, images = case.time_limit, {"images": case.images}
            model: dict[str, Any] = {"spec": to_json(case.spec), "dtype": case.dtype, "time_limit": limit}
            opened, _ = engine.call(
                "open_backend", backend=name, device=case.device, dtype=case.dtype, time_limit=limit
            )
            entry.update(device=opened["device"], versions=opened["versions"])
            rounded = case.dtype if opened["exact_float64"] else "float32"
            entry["tolerance"] = TOLERANCE[rounded]

            # Time first, on the plain model that a user would build, while nothing else is in the process.
            engine.call("build", case.weights, taps=[], **model)
            described, _ = engine.call("describe", spec=model["spec"], time_limit=limit)
            entry.update(parameters=described["parameters"], state=described["state"])
            measured, _ = engine.call("measure", images, repeats=REPEATS, budget=BUDGET, time_limit=limit)
            entry.update(measured)
            output = engine.call("predict", images, time_limit=limit)[1]["output"]
            entry["output_shape"] = list(output.shape)
            if case.labels is not None:
                entry["accuracy"] = float((output.argmax(-1) == case.labels).mean())

            engine.call("build", case.weights, taps=list(taps(case.spec)), **model)
            found = engine.call("predict", images, time_limit=limit)[1]
            _judge(entry, case, described, found, output)
            if case.deeper:
                _judge_deeper(entry, case, engine, rounded)
            entry["equal"] = not entry["shape_errors"] and all(
                error <= entry["tolerances"][key] for key, error in entry["max_error"].items()
            )
    except MissingBackendError as error:
        entry.update(error=str(error), missing=True)
    except (WorkerError, ResNetError) as error:
        line = str(error)
        entry["error"] = line if line.startswith((f"{name}:", f"backend {name}")) else f"{name}: {line}"
        entry["bad_input"] = isinstance(error, InputError)
    return entry


def _judge(
    entry: dict[str, Any], case: _Case, described: Mapping[str, Any], found: Weights, output: np.ndarray
) -> None:
    """Shapes, counts, and every tap; the plain model's output counts as the last tap too."""
    reference, last = case.reference, output_name(case.spec)
    entry["max_error"] = {tap: relative_error(found[tap], reference[tap]) for tap in reference}
    if reference:
        entry["max_error"][last] = max(entry["max_error"][last], relative_error(output, reference[last]))
    entry["tolerances"] = dict.fromkeys(entry["max_error"], entry["tolerance"])
    entry["shape_errors"] = _shape_errors(case.spec, described, found, len(case.images))
    expected = totals(case.spec)
    if (entry["parameters"], entry["state"]) != (expected.parameters, expected.state):
        entry["shape_errors"].append(f"{entry['state']} values of state, expected {expected.state}")


def _judge_deeper(entry: dict[str, Any], case: _Case, engine: Worker, rounded: str) -> None:
    """Gradients and training steps."""
    call: dict[str, Any] = {"dtype": case.dtype, "time_limit": case.time_limit}
    asked = gradients.question(case.level, case.spec, case.images)
    given = (engine, case.level, case.spec, case.weights, asked)
    found = gradients.measure(*given, **call)
    entry["max_error"] |= gradients.errors(found, case.deeper, case.spec)
    entry["tolerances"] |= gradients.tolerances(*given, found, rounded=rounded, **call)


def _shape_errors(spec: ResNetSpec, described: Mapping[str, Any], found: Weights, batch: int) -> list[str]:
    """What differs from the names and shapes that the core gives, in words."""
    wanted = {name: list(shape) for name, shape in state(spec).items()}
    errors = [
        f"{name}: {described['shapes'].get(name)}, expected {wanted.get(name)}"
        for name in sorted(wanted.keys() | described["shapes"].keys())
        if wanted.get(name) != described["shapes"].get(name)
    ]
    for tap, shape in tap_shapes(spec).items():
        if found[tap].shape != (batch, *shape):
            errors.append(f"{tap}: {list(found[tap].shape)}, expected {[batch, *shape]}")
    return errors
