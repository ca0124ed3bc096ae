"""What a Keras user does with a model; runs in a worker process, on the Keras backend of its environment."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from typing import Any

import keras
import numpy as np
from narrow import SIZES, SPECS

import resnet_core as rn
import resnet_keras

Answer = tuple[Any, dict[str, np.ndarray] | None]


def example(name: str, taps: tuple[str, ...] = ()) -> tuple[keras.Model, np.ndarray]:
    spec = SPECS[name]
    images = np.random.default_rng(3).standard_normal((2, *SIZES[0], spec.in_channels)).astype(np.float32)
    return resnet_keras.build(spec, weights=rn.probe_weights(spec), taps=taps), images


def save(session: Any, arrays: Any, *, name: str, path: str, taps: list[str]) -> Answer:
    """Save as .keras; answers images and what the model makes of them."""
    model, images = example(name, tuple(taps))
    model.save(path)
    output = resnet_keras.predict(model, images)
    return None, {"images": images, **({"": output} if isinstance(output, np.ndarray) else output)}


def parts(path: str) -> Iterator[dict[str, Any]]:
    """Everything in a .keras file's configuration that names a class."""
    with zipfile.ZipFile(path) as archive:
        pending = [json.loads(archive.read("config.json"))]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            if "class_name" in value:
                yield value
            pending += value.values()
        elif isinstance(value, list):
            pending += value


def classes(session: Any, arrays: Any, *, name: str, path: str) -> Answer:
    """[module, class, registered name] of everything in the saved file's configuration."""
    model, _ = example(name)
    model.save(path)
    return [[part.get("module"), part["class_name"], part.get("registered_name")] for part in parts(path)], None


def fit(session: Any, arrays: Any, *, name: str) -> Answer:
    """The loss of `fit`, epoch by epoch, and whether the running statistics moved."""
    model, images = example(name)
    before = resnet_keras.get_weights(model)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), loss, metrics=["accuracy"])
    history = model.fit(images, np.array([0, 2]), batch_size=2, epochs=8, verbose=0)
    after = resnet_keras.get_weights(model)
    moved = [key for key in before if not (before[key] == after[key]).all()]
    model.evaluate(images, np.array([0, 2]), verbose=0)
    return {"losses": [float(loss) for loss in history.history["loss"]], "moved": moved}, None


def summary(session: Any, arrays: Any, *, name: str, nested: bool) -> Answer:
    model, _ = example(name)
    with redirect_stdout(io.StringIO()) as text:
        model.summary(line_length=120, expand_nested=nested)
    return text.getvalue(), None


def deep(session: Any, arrays: Any, *, path: str) -> Answer:
    """The 110-layer network, narrow: built, saved, opened, cloned; as many tensors as the spec says."""
    spec = rn.spec("resnet110", channels=(2, 2, 2), input_size=8)
    weights = rn.probe_weights(spec)
    model = resnet_keras.build(spec, weights=weights)
    model.save(path)
    again = resnet_keras.get_weights(keras.models.load_model(path))
    keras.models.clone_model(model)
    return bool(all((again[key] == array).all() for key, array in weights.items()) and len(again) == len(weights)), None


def names_of(session: Any, arrays: Any, *, name: str) -> Answer:
    """The nesting: the model's parts, and those of its second stage."""
    model, _ = example(name)
    stage = model.get_layer("stage2")
    inputs = [list(model.input_shape), list(model.output_shape)]
    return [[layer.name for layer in model.layers], [layer.name for layer in stage.layers], inputs], None


def paths(session: Any, arrays: Any, *, name: str) -> Answer:
    """[path of every variable], and how many parameters Keras' PyTorch backend knows of (-1 on another)."""
    model, _ = example(name)
    known = len(list(model.parameters())) if keras.backend.backend() == "torch" else -1
    return [[variable.path for variable in model.variables], known], None


def odd_names(session: Any, arrays: Any, *, names: list[str]) -> Answer:
    """Shapes of what networks with such names compute."""
    shapes = []
    for name in names:
        spec = rn.spec(SPECS["cifar"], name=name)
        images = np.random.default_rng(7).standard_normal((2, *SIZES[0], spec.in_channels))
        shapes.append(list(resnet_keras.predict(resnet_keras.build(spec), images).shape))
    return shapes, None
