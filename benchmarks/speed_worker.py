"""The part of `speed.py` that runs in a process: one contestant, made ready, and timed call by call."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import peers
import usage

import resnet_core as rn
from resnet_core.architecture import layer_tree
from resnet_core.backend import load_backend
from resnet_core.benchmark.gate import asked
from resnet_core.benchmark.precision import FLOAT32, Precision
from resnet_core.benchmark.timing import seconds
from resnet_core.errors import ResNetError
from resnet_core.inference import fast_form
from resnet_core.training.contract import TrainingState
from resnet_core.training.random_factors import step_inputs
from resnet_core.training.recipe_files import recipe
from resnet_core.training.schedule import step_numbers
from resnet_core.training.targets import target_distribution

Run = Callable[[], Any]

ROUNDING = Precision("float32", "bfloat16")


def prepare(
    session: Any, arrays: Any, *, contestant: str, framework: str, spec: str, batch: int, size: int, device: str
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Make a contestant ready. Answers what it computes for given images, where, and its versions."""
    backend = load_backend(framework)
    if framework == "torch" and device == "gpu" and not contestant.startswith("our"):
        import torch

        torch.set_default_device("cuda")  # or its users write .cuda() behind every module and tensor
    network = rn.spec(spec)
    random = np.random.default_rng(0)
    images = random.standard_normal((batch, size, size, network.in_channels), dtype=np.float32)
    labels = random.integers(0, network.classes or 0, batch)
    session.run = CONTESTANTS[contestant](backend, framework, network, images, labels, device)
    start = seconds(lambda: setattr(session, "first", session.run()))
    versions = {**backend.versions(), **peers.versions(contestant)}
    about = {"versions": versions, "first_seconds": start, "device": _device(framework)}
    return about, {"output": np.asarray(session.first)}


def timed(session: Any, arrays: Any) -> tuple[float, None]:
    """Seconds of one call."""
    return seconds(session.run), None


def _device(framework: str) -> str:
    """Where this process computes, as its framework says: "cpu" or "gpu"."""
    if framework == "torch":
        import torch

        return "gpu" if torch.get_default_device().type == "cuda" else "cpu"
    if framework == "flax":
        import jax

        return str(jax.default_backend())
    if framework == "keras":
        import tensorflow as tf

        return "gpu" if tf.config.get_visible_devices("GPU") else "cpu"
    from resnet_onnx import runtime

    return "gpu" if runtime.memory() == "cuda" else "cpu"


def _ours(
    backend: Any,
    framework: str,
    spec: rn.ResNetSpec,
    images: np.ndarray,
    labels: np.ndarray,
    device: str,
    *,
    precision: Precision = FLOAT32,
) -> Run:
    backend.configure(device, precision.dtype)
    _require_right(backend, spec, images, precision, training=False)
    model = precision.model(backend, layer_tree(spec), spec.in_channels, rn.probe_weights(spec))
    model = fast_form(backend, model, spec, pictures=10**6, size=(images.shape[1], images.shape[2]))
    if device == "cpu" or framework == "keras":
        return lambda: backend.predict(model, images)
    # On a GPU the pictures are there, as theirs are, but for Keras', whose users give it arrays. The block stays open
    # as long as the call is kept.
    block = backend.resident(model, images)
    run = block.__enter__()
    return lambda block=block: run.fetch(run.compute())  # type: ignore[misc]


def _our_training(
    backend: Any,
    framework: str,
    spec: rn.ResNetSpec,
    images: np.ndarray,
    labels: np.ndarray,
    device: str,
    *,
    precision: Precision = FLOAT32,
) -> Run:
    backend.configure(device, "float32")
    _require_right(backend, spec, images, precision, training=True)
    inside = {"convolution_dtype": precision.convolution_dtype}
    plan = recipe("d2l", learning_rate=usage.LEARNING_RATE, momentum=usage.MOMENTUM, **inside)
    trainer = backend.Trainer(spec, plan, TrainingState(rn.initialize(spec, 0)), dtype="float32")
    targets, numbers = target_distribution(labels, spec.classes or 0, 0.0), step_numbers(plan, 1, 0)
    return lambda: trainer.step(step_inputs(spec, 0, 0, images, targets, numbers)).loss


def _require_right(
    backend: Any, spec: rn.ResNetSpec, images: np.ndarray, precision: Precision, *, training: bool
) -> None:
    """Raise ResNetError for a precision below float32 that is wrong somewhere, or is not what is computed in."""
    size, how = (images.shape[1], images.shape[2]), {"fast": not training, "training": training}
    if (problem := asked(backend, spec, size, precision, batch=len(images), **how).problem) is not None:
        raise ResNetError(problem)


def _by_hand(
    backend: Any, framework: str, spec: rn.ResNetSpec, images: np.ndarray, labels: np.ndarray, device: str
) -> Run:
    model = _handwritten(framework, images, rn.probe_weights(spec))
    return usage.load(framework).forward(model, images)  # type: ignore[no-any-return]


def _training_by_hand(
    backend: Any, framework: str, spec: rn.ResNetSpec, images: np.ndarray, labels: np.ndarray, device: str
) -> Run:
    model = _handwritten(framework, images, rn.initialize(spec, 0))
    return usage.load(framework).train_step(model, images, labels)  # type: ignore[no-any-return]


def _compiled_by_hand(
    backend: Any, framework: str, spec: rn.ResNetSpec, images: np.ndarray, labels: np.ndarray, device: str
) -> Run:
    model = _handwritten(framework, images, rn.probe_weights(spec))
    usage.load(framework).compile_for_inference(model)
    return usage.load(framework).forward(model, images)  # type: ignore[no-any-return]


def _printed(
    backend: Any, framework: str, spec: rn.ResNetSpec, images: np.ndarray, labels: np.ndarray, device: str
) -> Run:
    """A training step of the program that `resnet source` prints: plain NNX."""
    from flax import nnx

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "printed_network.py"
        path.write_text(rn.source(spec, framework))
        found = importlib.util.spec_from_file_location("printed_network", path)
        assert found is not None
        assert found.loader is not None
        module = sys.modules["printed_network"] = importlib.util.module_from_spec(found)
        found.loader.exec_module(module)
        model = module.ResNet(rngs=nnx.Rngs(0))
        rn.save_weights(Path(folder) / "w.safetensors", rn.initialize(spec, 0), spec)
        module.load(model, str(Path(folder) / "w.safetensors"))
    return usage.load(framework).train_step(model, images, labels)  # type: ignore[no-any-return]


def _application(
    backend: Any, framework: str, spec: rn.ResNetSpec, images: np.ndarray, labels: np.ndarray, device: str
) -> Run:
    model = _applied(images, rn.probe_weights(spec), spec)
    return usage.load(framework).forward(model, images)  # type: ignore[no-any-return]


def _training_application(
    backend: Any, framework: str, spec: rn.ResNetSpec, images: np.ndarray, labels: np.ndarray, device: str
) -> Run:
    model = _applied(images, rn.initialize(spec, 0), spec)
    return usage.load(framework).train_step(model, images, labels)  # type: ignore[no-any-return]


def _handwritten(framework: str, images: np.ndarray, weights: dict[str, np.ndarray]) -> Any:
    module = importlib.import_module(f"handwritten.{framework}_resnet50")
    if framework == "flax":
        from flax import nnx

        model = module.ResNet50(1000, rngs=nnx.Rngs(0))
    else:
        model = module.ResNet50(1000)
    importlib.import_module(f"handwritten.{framework}_weights").set_weights(model, weights)
    return model


def _applied(images: np.ndarray, weights: dict[str, np.ndarray], spec: rn.ResNetSpec) -> Any:
    """keras.applications' own ResNet50, with these weights, through a file of its own format."""
    import keras

    from resnet_core.conversion.convert import convert

    model = keras.applications.ResNet50(
        weights=None, input_shape=images.shape[1:], classes=1000, classifier_activation=None
    )
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "w.safetensors", Path(folder) / "w.weights.h5"
        rn.save_weights(source, weights, spec)
        convert(source, target, destination_format="keras")
        model.load_weights(target)
    return model


def _peer(name: str) -> Callable[..., Run]:
    def run(
        backend: Any, framework: str, spec: rn.ResNetSpec, images: np.ndarray, labels: np.ndarray, device: str
    ) -> Run:
        return peers.CONTESTANTS[name](spec, rn.probe_weights(spec), images)

    return run


CONTESTANTS: dict[str, Callable[..., Run]] = {
    "ours": _ours,
    "ours, bfloat16": partial(_ours, precision=Precision("bfloat16")),
    "ours, bfloat16 convolutions": partial(_ours, precision=ROUNDING),
    "our training": _our_training,
    "our training, bfloat16 convolutions": partial(_our_training, precision=ROUNDING),
    "by hand": _by_hand,
    "training by hand": _training_by_hand,
    "compiled by hand": _compiled_by_hand,
    "printed": _printed,
    "keras.applications": _application,
    "training keras.applications": _training_application,
    **{name: _peer(name) for name in peers.CONTESTANTS},
}
