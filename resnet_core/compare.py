"""The main job: one network in every backend, on real images, held against the NumPy float64 truth.

Every backend runs in a process of its own, one after the other, so that times are honest and a backend
that is missing, crashes, is killed or hangs is that backend's result and nobody else's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from resnet_core.analysis import state, tap_shapes, totals
from resnet_core.architecture import output_name, taps
from resnet_core.backend import backends as registered
from resnet_core.engine import TIME_LIMIT, Engine, relative_error
from resnet_core.errors import InputError, MissingBackendError, ResNetError, WorkerError
from resnet_core.images import sample_batch
from resnet_core.initialize import Weights, probe_weights
from resnet_core.spec import ResNetSpec, to_fields
from resnet_core.spec_files import to_json
from resnet_core.weights import cast

LEVELS = ("shapes", "logits")
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
    dtype: str = "float32",
    weights: Weights | None = None,
    pythons: Mapping[str, str] | None = None,
    time_limit: float = TIME_LIMIT,
    progress: Callable[[str], None] = lambda message: None,
) -> dict[str, Any]:
    """The comparison as JSON-ready values (README lists the keys).

    Without `backends`, all that are registered and installed; without `weights`, ones that show every
    mapping error (`probe_weights`). An entry of `backends` has an `error` where that backend failed, and
    `missing` where it is not installed. Raises InputError for an unknown backend, device, level or dtype.
    """
    chosen = _chosen(backends)
    for option, value, allowed in (
        ("level", level, LEVELS),
        ("dtype", dtype, tuple(TOLERANCE)),
        ("device", device, ("auto", "cpu", "gpu")),
    ):
        if value not in allowed:
            raise InputError(f"--{option}: received {value!r}; expected one of {', '.join(allowed)}")
    for name in pythons or {}:
        if name not in chosen:
            raise InputError(f"--python: received {name!r}; the compared backends are {', '.join(chosen)}")
    images = sample_batch(spec.input_size, spec.in_channels, BATCH).astype(np.float32)
    weights = cast(probe_weights(spec) if weights is None else weights, dtype)

    reference: Weights = {}
    if level == "logits":
        progress(f"{REFERENCE}: the reference in float64")
        reference = _reference(spec, cast(weights, "float64"), images, time_limit)
    results = {}
    for name in chosen:
        progress(f"{name}: build, run, compare")
        results[name] = _run_backend(
            name, spec, weights, images, reference, device, dtype, (pythons or {}).get(name), time_limit
        )
    if backends is None:  # nobody asked for these by name: what is not installed is not compared
        _require_one(results)
    compared = [entry for entry in results.values() if backends is not None or not entry.get("missing")]
    devices = {entry["device"] for entry in compared if "device" in entry}
    return {
        "spec": to_fields(spec),
        "equal": all(_equal(entry) for entry in compared),
        "level": level,
        "dtype": dtype,
        "device": devices.pop() if len(devices) == 1 else "mixed" if devices else device,
        "reference": f"{REFERENCE} float64",
        "batch": BATCH,
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


def _reference(spec: ResNetSpec, weights: Weights, images: np.ndarray, time_limit: float) -> Weights:
    with Engine() as engine:
        engine.call("open_backend", backend=REFERENCE, device="cpu", dtype="float64")
        engine.call("build", weights, spec=to_json(spec), taps=list(taps(spec)), dtype="float64")
        return engine.call("predict", {"images": images}, time_limit=time_limit)[1]


def _run_backend(
    name: str,
    spec: ResNetSpec,
    weights: Weights,
    images: np.ndarray,
    reference: Weights,
    device: str,
    dtype: str,
    python: str | None,
    time_limit: float,
) -> dict[str, Any]:
    """One entry of the result. Whatever happens in the backend's process ends here."""
    expected = totals(spec)
    entry: dict[str, Any] = {}
    try:
        with Engine(python) as engine:
            opened, _ = engine.call("open_backend", backend=name, device=device, dtype=dtype, time_limit=time_limit)
            entry.update(device=opened["device"], versions=opened["versions"])
            exact = dtype == "float32" or opened["exact_float64"]
            entry["tolerance"] = TOLERANCE[dtype] if exact else TOLERANCE["float32"]

            # Time first, on the plain model that a user would build, while nothing else is in the process.
            engine.call("build", weights, spec=to_json(spec), taps=[], dtype=dtype, time_limit=time_limit)
            described, _ = engine.call("describe", spec=to_json(spec), time_limit=time_limit)
            entry.update(parameters=described["parameters"], state=described["state"])
            measured, _ = engine.call(
                "measure", {"images": images}, repeats=REPEATS, budget=BUDGET, time_limit=time_limit
            )
            entry.update(measured)
            _, plain = engine.call("predict", {"images": images}, time_limit=time_limit)

            engine.call("build", weights, spec=to_json(spec), taps=list(taps(spec)), dtype=dtype, time_limit=time_limit)
            _, found = engine.call("predict", {"images": images}, time_limit=time_limit)
            output = plain["output"]
            entry["output_shape"] = list(output.shape)
            entry["max_error"] = {
                tap: max(relative_error(found[tap], reference[tap]), relative_error(output, reference[tap]))
                if tap == output_name(spec)
                else relative_error(found[tap], reference[tap])
                for tap in reference
            }
            entry["shape_errors"] = _shape_errors(spec, described, found)
            if (entry["parameters"], entry["state"]) != (expected.parameters, expected.state):
                entry["shape_errors"].append(f"{entry['state']} values of state, expected {expected.state}")
    except MissingBackendError as error:
        entry.update(error=str(error), missing=True)
    except (WorkerError, ResNetError) as error:
        line = str(error)
        entry["error"] = line if line.startswith((f"{name}:", f"backend {name}")) else f"{name}: {line}"
        entry["bad_input"] = isinstance(error, InputError)
    return entry


def _shape_errors(spec: ResNetSpec, described: Mapping[str, Any], found: Weights) -> list[str]:
    """What differs from the names and shapes that the core gives, in words."""
    wanted = {name: list(shape) for name, shape in state(spec).items()}
    errors = [
        f"{name}: {described['shapes'].get(name)}, expected {wanted.get(name)}"
        for name in sorted(wanted.keys() | described["shapes"].keys())
        if wanted.get(name) != described["shapes"].get(name)
    ]
    for tap, shape in tap_shapes(spec).items():
        if found[tap].shape != (BATCH, *shape):
            errors.append(f"{tap}: {list(found[tap].shape)}, expected {[BATCH, *shape]}")
    return errors


def _equal(entry: Mapping[str, Any]) -> bool:
    if "error" in entry or entry["shape_errors"]:
        return False
    return all(error <= entry["tolerance"] for error in entry["max_error"].values())
