"""The program that a file of weights was written for, run on them: where it is installed, it is the referee."""

from __future__ import annotations

import contextlib
import importlib.util
from typing import Any, NamedTuple

import numpy as np
from msgspec.structs import replace

from resnet_core.backend import backends, declared, environment
from resnet_core.conversion.inference import is_of_zoo
from resnet_core.conversion.read import Imported, native_arrays
from resnet_core.errors import BackendError, InputError
from resnet_core.specification import to_fields
from resnet_core.workers.parent import Worker


class OwnOutput(NamedTuple):
    """What a library's own program gives: its name with version and precision, and the logits in that precision."""

    program: str
    logits: np.ndarray


def own_output(side: Imported, images: np.ndarray) -> OwnOutput | None:
    """The logits of the program that the file is of, or None where it is not installed or has no such network.

    Raises WeightsError where the program is there and does not take these weights, WorkerError where it cannot run.
    """
    place = str(side.path.absolute())
    if side.network is not None:
        with Worker(defaults=environment(side.network)) as worker:
            program, found = worker.call("run_network", {"images": images}, backend=side.network, path=place)
        return OwnOutput(program, found["output"])
    if side.recognized is None or side.spec.classes is None:
        return None
    format = side.recognized.format.name
    backend, module = _registered().get(format, ("", ""))
    if not backend or importlib.util.find_spec(module) is None:
        return None
    told: dict[str, Any] = {}
    for argument in side.recognized.style.arguments:
        if getattr(side.spec, argument.name) is not None and argument.hinders(side.spec) is None:
            told |= argument.told(side.spec)
    # They build networks by their names.
    plain = replace(side.spec, output_stride=None) if "output_stride" in told else side.spec
    if format in ("keras", "timm") and not is_of_zoo(plain):
        return None
    arrays = {} if format in ("hf", "keras") else native_arrays(side.path)
    sent = {"images": images} | {f"weights {name}": array for name, array in arrays.items()}
    with Worker(defaults=environment(backend)) as worker:
        about: dict[str, Any] = {"format": format, "path": place, "spec": to_fields(side.spec), "told": told}
        program, found = worker.call("run_program", sent, backend=backend, **about)
    return None if program is None else OwnOutput(program, found["output"])


def _registered() -> dict[str, tuple[str, str]]:
    """{format: (the backend that runs its programs, the module that has to be installed)}."""
    known: dict[str, tuple[str, str]] = {}
    for name in backends():
        with contextlib.suppress(InputError, BackendError):  # a broken backend runs nothing
            known |= {format: (name, module) for format, module in declared(name, "PROGRAMS", {}).items()}
    return known
