"""The tasks of a worker process. Every task is called as `function(session, arrays, **arguments)`."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from resnet_core.backend import load_backend, load_verb, optional
from resnet_core.files import files_of
from resnet_core.inference import fast_model
from resnet_core.spec_files import from_json
from resnet_core.training.contract import TrainingState
from resnet_core.training.random_factors import require_random_layers, step_inputs
from resnet_core.training.recipe_files import recipe_from_json
from resnet_core.training.schedule import step_numbers
from resnet_core.training.targets import target_distribution
from resnet_core.weights import StateDict
from resnet_core.workers.child import Arrays, Session
from resnet_core.workers.memory import bounded_memory, peak_resident_memory

Answer = tuple[Any, Arrays | None]


def import_backend(session: Session, arrays: Arrays, *, backend: str) -> Answer:
    """Import the backend and its framework, which takes longest; `open_backend` comes next."""
    session.backend = load_backend(backend)
    return None, None


def open_backend(
    session: Session, arrays: Arrays, *, backend: str, device: str, dtype: str, only_exact: bool = False
) -> Answer:
    """Import the backend and set up the process. Answers device, dtype and versions.

    With `only_exact`, a backend without exact float64 is set up for float32 instead.
    """
    session.backend = load_backend(backend)
    inexact = only_exact and dtype == "float64" and not session.backend.exact_float64()
    session.dtype = "float32" if inexact else dtype
    device = session.backend.configure(device, session.dtype)
    return {"device": device, "dtype": session.dtype, "versions": session.backend.versions()}, None


def build(session: Session, arrays: Arrays, *, spec: str, taps: list[str], dtype: str | None = None) -> Answer:
    """Build the model that later requests use, from the spec as JSON and the neutral weights in `arrays`.

    `dtype` defaults to the one that the process is set up for.
    """
    session.model = None  # the old one must not count toward the peak memory
    session.spec = from_json(spec)
    session.model = session.backend.build(session.spec, weights=arrays, taps=tuple(taps), dtype=dtype or session.dtype)
    return None, None


def build_fast(session: Session, arrays: Arrays, *, spec: str, pictures: int, size: list[int]) -> Answer:
    """Like `build`, for inference alone, as so many pictures of a size are predicted soonest."""
    session.spec = from_json(spec)
    session.model = fast_model(
        session.backend, session.spec, arrays, dtype=session.dtype, pictures=pictures, size=(size[0], size[1])
    )
    return None, None


def predict(session: Session, arrays: Arrays) -> Answer:
    """Evaluation-mode output for `arrays["images"]`: {tap: array}, or {"output": array} without taps."""
    return None, _named(session.backend.predict(session.model, arrays["images"]))


def train_forward(session: Session, arrays: Arrays) -> Answer:
    """Training-mode output, and the state afterwards as `state.NAME`."""
    output = optional(session.backend, "train_forward")(session.model, arrays["images"], session.spec)
    state = session.backend.get_weights(session.model)
    return None, {**_named(output), **{f"state.{name}": array for name, array in state.items()}}


def gradients(session: Session, arrays: Arrays) -> Answer:
    """Gradients of sum(output * cotangent) in training mode, by neutral name."""
    return None, optional(session.backend, "gradients")(session.model, arrays["images"], arrays["cotangent"])


def train_steps(session: Session, arrays: Arrays, *, spec: str, recipe: str, dtype: str, done: int = 0) -> Answer:
    """Train on `images` (steps, batch, …) and `labels` (steps, batch) after `done` steps.

    `arrays` also holds the state, as from `TrainingState.to_arrays`. Answers `loss` (steps,) and the new state.
    """
    network, plan = from_json(spec), recipe_from_json(recipe)
    make_trainer = optional(session.backend, "Trainer")
    require_random_layers(network, make_trainer.inputs)
    trainer = make_trainer(network, plan, TrainingState.from_arrays(arrays, done), dtype=dtype)
    losses = []
    for step, (images, labels) in enumerate(zip(arrays["images"], arrays["labels"], strict=True), start=done):
        targets = target_distribution(labels, network.classes or 0, plan.label_smoothing)
        inputs = step_inputs(network, plan.seed, step, images, targets, step_numbers(plan, 1, step))
        losses.append(trainer.step(inputs).loss)
    return None, {"loss": np.array(losses), **trainer.state().to_arrays()}


def get_weights(session: Session, arrays: Arrays) -> Answer:
    """The model's neutral weights."""
    return None, session.backend.get_weights(session.model)


def native_tensors(session: Session, arrays: Arrays) -> Answer:
    """{neutral name: [the framework's own name, its shape there]}."""
    return optional(session.backend, "native_tensors")(session.model), None


def read_state_dict(session: Session, arrays: Arrays, *, backend: str, path: str) -> Answer:
    """{name: array} of a checkpoint in the backend's own format. Answers what lies beside them."""
    read = load_verb(backend, "read_state_dict")
    with bounded_memory(_memory_for(*files_of(Path(path)))):
        found = read(Path(path))
    return list(found.beside) if isinstance(found, StateDict) else [], found


def write_state_dict(session: Session, arrays: Arrays, *, backend: str, path: str) -> Answer:
    """Write a checkpoint in the backend's own format."""
    load_verb(backend, "write_state_dict")(Path(path), arrays)
    return None, None


def write_network(
    session: Session, arrays: Arrays, *, backend: str, path: str, spec: dict[str, Any], about: dict[str, str]
) -> Answer:
    """Write a network with its weights as a file of the backend's own kind."""
    load_verb(backend, "write_network")(Path(path), spec, arrays, about)
    return None, None


def network_files(session: Session, arrays: Arrays, *, backend: str, path: str) -> Answer:
    """The files beside such a file in which its weights are."""
    look = load_verb(backend, "network_files")
    with bounded_memory(_memory_for(Path(path))):
        return [str(file) for file in look(Path(path))], None


def read_network(session: Session, arrays: Arrays, *, backend: str, path: str, beside: list[str]) -> Answer:
    """What such a file holds: its graph, and its weights and constants, which may be in files beside it."""
    read = load_verb(backend, "read_network")
    with bounded_memory(_memory_for(Path(path), *map(Path, beside))):
        found: Answer = read(Path(path))
    return found


def is_network_of(session: Session, arrays: Arrays, *, backend: str, path: str, spec: dict[str, Any]) -> Answer:
    """Whether the file's graph is the one that the backend writes for the spec."""
    return load_verb(backend, "is_network_of")(Path(path), spec), None


def run_network(session: Session, arrays: Arrays, *, backend: str, path: str) -> Answer:
    """(what ran, {"output": array}) of the graph itself for `arrays["images"]`."""
    program, output = load_verb(backend, "run_network")(Path(path), arrays["images"])
    return program, {"output": output}


def run_program(
    session: Session,
    arrays: Arrays,
    *,
    backend: str,
    format: str,
    path: str,
    spec: dict[str, Any],
    told: dict[str, Any],
) -> Answer:
    """What a library's own program gives for `arrays["images"]`; None if it has none. `weights NAME` is a tensor."""
    start = "weights "
    weights = {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}
    found = load_verb(backend, "run_program")(format, Path(path), spec, told, weights, arrays["images"])
    return (None, None) if found is None else (found[0], {"output": found[1]})


def set_weights(session: Session, arrays: Arrays) -> Answer:
    """Set the model's neutral weights."""
    session.backend.set_weights(session.model, arrays)
    return None, None


def time_predictions(session: Session, arrays: Arrays, *, repeats: int, budget: float) -> Answer:
    """Seconds of the first `predict`, the median of up to `repeats` more within `budget` seconds, and peak memory.

    The peak is the resident memory of the process, frameworks included, or the device's memory on a GPU.
    """
    images = arrays["images"]
    first = _seconds(session, images)
    steady: list[float] = []
    while len(steady) < repeats and (not steady or sum(steady) < budget):
        steady.append(_seconds(session, images))
    peak = session.backend.peak_device_memory() or peak_resident_memory()
    seconds = {"first": first, "steady": statistics.median(steady), "repeats": len(steady)}
    return {"seconds": seconds, "peak_memory_bytes": peak}, None


def _memory_for(*files: Path) -> int:
    """Bytes that reading files may take; a damaged one may say that it holds anything."""
    return 2**30 + 20 * sum(file.stat().st_size for file in files)


def _seconds(session: Session, images: np.ndarray) -> float:
    start = time.perf_counter()
    session.backend.predict(session.model, images)  # returns arrays on the host, so nothing is left running
    return time.perf_counter() - start


def _named(output: np.ndarray | Arrays) -> Arrays:
    return output if isinstance(output, dict) else {"output": output}
