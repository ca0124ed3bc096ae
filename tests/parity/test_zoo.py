"""Every spec of the zoo computes the same in every backend: logits and every tap, at three sizes."""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import pytest

import cases
import resnet_core as rn
from engine_pool import MAIN, TOLERANCE, EnginePool, batch, problems
from resnet_core.workers.child import Arrays

#: What Keras' other backends are asked: one of each kind.
OTHER_KERAS = ("resnet34", "resnet101_v1", "resnet32", "resnext50_32x4d")


@lru_cache(maxsize=1)
def outputs(pool: EnginePool, name: str, engines: tuple[str, ...]) -> dict[str, list[Arrays]]:
    """{engine and dtype: taps at each pair} of one spec; cached, since its tests follow each other."""
    spec = cases.spec(name)
    inputs = [(rn.probe_weights(spec, seed), batch(spec, size, seed)) for size, seed in cases.pairs(name)]

    def run(key: tuple[str, str]) -> list[Arrays]:
        engine, dtype = key
        try:
            return pool.sweep(engine, spec, inputs, dtype)
        finally:
            pool.engine(engine, dtype).call("engine_tasks:forget")

    keys = [("numpy", "float64"), *product(engines, ("float64", "float32"))]
    return {f"{engine} {dtype}": taps for (engine, dtype), taps in pool.everywhere(keys, run).items()}


@pytest.mark.parametrize("engine", MAIN)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("pair", range(3))
@pytest.mark.parametrize("name", rn.names())
def test_logits_and_every_tap_equal_the_reference(
    pool: EnginePool, name: str, pair: int, dtype: str, engine: str
) -> None:
    found = outputs(pool, name, MAIN)
    truth = found["numpy float64"][pair]
    assert set(truth) == set(rn.taps(cases.spec(name)))
    assert problems(found[f"{engine} {dtype}"][pair], truth, TOLERANCE[dtype]) == {}


@pytest.mark.parametrize("engine", ["keras_jax", "keras_torch"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", OTHER_KERAS)
def test_keras_on_jax_and_pytorch_equals_the_reference(pool: EnginePool, name: str, dtype: str, engine: str) -> None:
    found = outputs(pool, name, ("keras_jax", "keras_torch"))
    for pair, truth in enumerate(found["numpy float64"]):
        assert problems(found[f"{engine} {dtype}"][pair], truth, TOLERANCE[dtype]) == {}
