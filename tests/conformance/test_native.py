"""What every backend promises alike: any image size, weights in and out, refusals, float64 without further ado."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import resnet_core as rn
from conformance.narrow import SIZES, SPECS
from resnet_core import InputError
from resnet_core.numerics import relative_error
from resnet_core.workers.parent import Worker

if TYPE_CHECKING:
    from conformance.conftest import Workers

ENGINES = {
    "torch": "torch",
    "keras": "keras",
    "keras_jax": "keras",
    "keras_torch": "keras",
    "flax": "flax",
    "numpy": "numpy",
}


def truth(name: str, size: tuple[int, int], taps: tuple[str, ...] = ()) -> np.ndarray | dict[str, np.ndarray]:
    spec = SPECS[name]
    images = np.random.default_rng(7).standard_normal((2, *size, spec.in_channels))
    model = rn.build(spec, "numpy", weights=rn.probe_weights(spec, dtype="float64"), taps=taps, dtype="float64")
    return rn.load_backend("numpy").predict(model, images)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("engine", ENGINES)
def test_one_model_takes_any_image_size(engine: str, name: str, workers: Workers) -> None:
    _, found = workers.call(engine, "native:predictions", backend=ENGINES[engine], name=name, dtype="float32")
    for size in SIZES:
        assert relative_error(found[f"{size[0]}x{size[1]}"], truth(name, size)) < 1e-5


@pytest.mark.parametrize("name", ["d2l", "slim"])
@pytest.mark.parametrize("engine", [engine for engine in ENGINES if engine != "keras_jax"])
def test_float64_works_in_a_process_that_nobody_configured(engine: str, name: str, workers: Workers) -> None:
    _, found = workers.call(engine, "native:predictions", backend=ENGINES[engine], name=name, dtype="float64")
    tolerance = 1e-5 if engine == "keras_torch" else 1e-12  # see `exact_float64`
    for size in SIZES:
        output = found[f"{size[0]}x{size[1]}"]
        assert output.dtype == np.float64
        assert relative_error(output, truth(name, size)) < tolerance


@pytest.mark.parametrize("configured", [False, True])
def test_keras_on_jax_refuses_float64_until_it_is_configured(configured: bool) -> None:
    """JAX's 64-bit mode is global to the process; without it float64 would silently be float32."""
    weights = rn.probe_weights(SPECS["slim"], dtype="float64")
    with Worker(environment={"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}) as engine:
        if configured:
            engine.call("open_backend", backend="keras", device="cpu", dtype="float64")
            engine.call("build", weights, spec=rn.to_json(SPECS["slim"]), taps=[], dtype="float64")
            _, found = engine.call("get_weights")
            assert {array.dtype.name for array in found.values()} == {"float64"}
            return
        engine.call("open_backend", backend="keras", device="cpu", dtype="float32")
        with pytest.raises(InputError, match=r"^dtype: received 'float64' while JAX's 64-bit mode is off; call "):
            engine.call("build", weights, spec=rn.to_json(SPECS["slim"]), taps=[], dtype="float64")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_model_with_taps_returns_those_and_no_others(engine: str, workers: Workers) -> None:
    _, found = workers.call(engine, "native:tapped", backend=ENGINES[engine], name="slim")
    expected = truth("slim", SIZES[0], ("stage2", "stem"))
    assert set(found) == set(expected)
    for tap, value in expected.items():
        assert relative_error(found[tap], value) < 1e-5


@pytest.mark.parametrize(
    ("engine", "dtype"),
    [*((engine, "float32") for engine in ENGINES), *((e, "float64") for e in ENGINES if e != "keras_jax")],
)
def test_get_weights_returns_what_went_in_and_its_dtype(engine: str, dtype: str, workers: Workers) -> None:
    for name in ("d2l", "slim"):
        weights = rn.probe_weights(SPECS[name], seed=4, dtype=dtype)
        names, found = workers.call(
            engine, "native:weights_out", weights, backend=ENGINES[engine], name=name, dtype=dtype
        )
        assert set(names) == set(weights)
        for key, array in weights.items():
            assert found[key].dtype == array.dtype == np.dtype(dtype)
            np.testing.assert_array_equal(found[key], array, err_msg=key)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_seed_is_the_same_network_in_every_engine(engine: str, workers: Workers) -> None:
    _, found = workers.call(engine, "native:seeded", backend=ENGINES[engine], name="slim")
    for key, array in rn.initialize(SPECS["slim"], 11).items():
        np.testing.assert_array_equal(found[key], array, err_msg=key)


@pytest.mark.parametrize("engine", ENGINES)
def test_weights_that_do_not_fit_are_refused_and_change_nothing(engine: str, workers: Workers) -> None:
    messages, _ = workers.call(engine, "native:refusals", backend=ENGINES[engine], name="d2l")
    words = {
        "float64": "received float64, expected float32; convert with resnet_core.cast",
        "shape": "received shape ",
        "last dtype": "received float64, expected float32",
        "missing": "1 missing (",
        "unknown": "1 unknown (head.extra)",
        "nan": "holds values that are not finite",
    }
    assert messages.keys() == words.keys()
    for kind, message in messages.items():
        assert words[kind] in message
        assert "\n" not in message


@pytest.mark.parametrize("engine", ["keras", "keras_jax", "keras_torch"])  # the others give no names to frameworks
def test_a_network_may_have_any_name(engine: str, workers: Workers) -> None:
    names = ["a/b.c", "größe 漢", "_x", "-"]
    shapes, _ = workers.call(engine, "native:odd_names", backend=ENGINES[engine], names=names)
    assert shapes == [[2, 3]] * len(names)
