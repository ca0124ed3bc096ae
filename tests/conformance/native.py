"""What the conformance tests ask of any backend; runs in worker processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from narrow import SIZES, SPECS

import resnet_core as rn
from resnet_core.errors import WeightsError

Answer = tuple[Any, dict[str, np.ndarray] | None]


def images(spec: rn.ResNetSpec, size: tuple[int, int], batch: int = 2) -> np.ndarray:
    """Standard normal images (batch, height, width, channels), float64."""
    return np.random.default_rng(7).standard_normal((batch, *size, spec.in_channels))


def predictions(session: Any, arrays: Any, *, backend: str, name: str, dtype: str) -> Answer:
    """One model's output at two sizes. The process was never configured."""
    package, spec = rn.load_backend(backend), SPECS[name]
    model = package.build(spec, weights=rn.probe_weights(spec, dtype=dtype), dtype=dtype)
    return None, {f"{h}x{w}": package.predict(model, images(spec, (h, w))) for h, w in SIZES}


def tapped(session: Any, arrays: Any, *, backend: str, name: str) -> Answer:
    """{tap: array} of a model that was built with some of its taps."""
    package, spec = rn.load_backend(backend), SPECS[name]
    weights = rn.probe_weights(spec)
    return None, package.predict(package.build(spec, weights=weights, taps=("stage2", "stem")), images(spec, SIZES[0]))


def weights_out(session: Any, arrays: Any, *, backend: str, name: str, dtype: str) -> Answer:
    """What get_weights returns of a model that was built with `arrays`, after a prediction."""
    package, spec = rn.load_backend(backend), SPECS[name]
    model = package.build(spec, weights=arrays, dtype=dtype)
    package.predict(model, images(spec, SIZES[0]))
    first = package.get_weights(model)
    for array in package.get_weights(model).values():
        array[...] = 0  # copies: this must not reach the model
    again = package.get_weights(model)
    assert all((first[key] == again[key]).all() for key in first)
    return list(first), first


def seeded(session: Any, arrays: Any, *, backend: str, name: str) -> Answer:
    """The initial weights of a model that was built without any."""
    package = rn.load_backend(backend)
    return None, package.get_weights(package.build(SPECS[name], seed=11))


def refusals(session: Any, arrays: Any, *, backend: str, name: str) -> Answer:
    """{what is wrong: message} of weights that set_weights must refuse without changing anything."""
    package, spec = rn.load_backend(backend), SPECS[name]
    model = package.build(spec, weights=rn.probe_weights(spec))
    before, other = package.get_weights(model), rn.probe_weights(spec, seed=5)
    last = list(other)[-1]
    wrong = {
        "float64": rn.cast(other, "float64"),
        "shape": {**other, last: np.zeros((*other[last].shape, 1), np.float32)},
        "last dtype": {**other, last: other[last].astype(np.float64)},
        "missing": {key: array for key, array in other.items() if key != last},
        "unknown": {**other, "head.extra": other[last]},
        "nan": {**other, last: np.full_like(other[last], np.nan)},
    }
    messages = {}
    for kind, weights in wrong.items():
        for action in (
            lambda w=weights: package.set_weights(model, w),
            lambda w=weights: package.build(spec, weights=w),
        ):
            try:
                action()
            except WeightsError as error:
                messages[kind] = str(error)
            else:
                raise AssertionError(f"{kind}: accepted")
        after = package.get_weights(model)
        assert all((before[key] == after[key]).all() for key in before), f"{kind}: the model was changed"
    package.set_weights(model, other)
    after = package.get_weights(model)
    assert all((other[key] == after[key]).all() for key in other)
    return messages, None


def through_the_model(session: Any, arrays: Any, *, backend: str, name: str, source: str, target: str) -> Answer:
    """A file's weights into a model and out into another file."""
    package = rn.load_backend(backend)
    weights, spec = rn.load_weights(source, spec=SPECS[name])
    model = package.build(spec, weights=weights, dtype=next(iter(weights.values())).dtype.name)
    rn.save_weights(Path(target), package.get_weights(model), spec)
    return None, None


def odd_names(session: Any, arrays: Any, *, backend: str, names: list[str]) -> Answer:
    """Shapes of what networks with such names compute."""
    package, shapes = rn.load_backend(backend), []
    for name in names:
        spec = rn.spec(SPECS["cifar"], name=name)
        shapes.append(list(package.predict(package.build(spec), images(spec, SIZES[0])).shape))
    return shapes, None
