"""Every spec of the zoo computes the same in every backend: logits and every tap, in float64 and in float32.

Every kind of network is asked, narrow, at two sizes in float64, as a size decides paddings, and in float32 at the one
that is odd and not square; the deepest at that one. What lies between is these blocks some more times, and long, as
the full widths are.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import pytest

import cases
import resnet_core as rn
from engine_pool import MAIN, TOLERANCE, EnginePool, batch, problems
from network_kinds import KINDS
from resnet_core.workers.child import Arrays

#: What Keras' other backends are asked besides a small one: one of each kind.
OTHER_KERAS = ("resnet34", "resnext50_32x4d", "resnet101_v1")


def pairs(name: str, dtype: str, long: bool) -> tuple[int, ...]:
    """Where a spec is asked: indices of its pairs."""
    if long:
        return 0, 1, 2
    if dtype == "float64" and name in cases.KINDS:
        return 1, 2
    if name in (*cases.KINDS, *cases.DEEPEST, "resnet32", *OTHER_KERAS) or (dtype == "float64" and name in KINDS):
        return (cases.ODD,)
    return ()


def quick(name: str, pair: int, dtype: str) -> bool:
    """Whether the three frameworks are asked for it without --long."""
    return name in (*cases.KINDS, *cases.DEEPEST, *KINDS) and pair in pairs(name, dtype, False)


RUNS = [
    pytest.param(name, pair, dtype, marks=() if quick(name, pair, dtype) else pytest.mark.long)
    for name in rn.names()
    for pair in range(3)
    for dtype in ("float64", "float32")
]


@lru_cache(maxsize=1)
def outputs(pool: EnginePool, name: str, engines: tuple[str, ...], long: bool) -> dict[str, dict[int, Arrays]]:
    """{engine and dtype: {pair: taps}} of one spec; cached, since its tests follow each other."""
    spec = cases.spec(name, long)
    inputs = [(rn.probe_weights(spec, seed), batch(spec, size, seed)) for size, seed in cases.pairs(name)]

    def run(key: tuple[str, str]) -> dict[int, Arrays]:
        engine, dtype = key
        asked = pairs(name, dtype, long)
        try:
            return dict(zip(asked, pool.sweep(engine, spec, [inputs[pair] for pair in asked], dtype), strict=True))
        finally:
            pool.engine(engine, dtype).call("engine_tasks:forget")

    dtypes = [dtype for dtype in ("float64", "float32") if pairs(name, dtype, long)]
    keys = [("numpy", "float64"), *product(engines, dtypes)]
    return {f"{engine} {dtype}": taps for (engine, dtype), taps in pool.everywhere(keys, run).items()}


@pytest.mark.parametrize("engine", MAIN)
@pytest.mark.parametrize(("name", "pair", "dtype"), RUNS)
def test_logits_and_every_tap_equal_the_reference(
    pool: EnginePool, name: str, pair: int, dtype: str, engine: str, long: bool
) -> None:
    found = outputs(pool, name, MAIN, long)
    truth = found["numpy float64"][pair]
    assert set(truth) == set(rn.taps(cases.spec(name, long)))
    assert problems(found[f"{engine} {dtype}"][pair], truth, TOLERANCE[dtype]) == {}


@pytest.mark.parametrize("engine", ["keras_jax", "keras_torch"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["resnet32", *(pytest.param(name, marks=pytest.mark.long) for name in OTHER_KERAS)])
def test_keras_on_jax_and_pytorch_equals_the_reference(
    pool: EnginePool, name: str, dtype: str, engine: str, long: bool
) -> None:
    found = outputs(pool, name, ("keras_jax", "keras_torch"), long)
    for pair, taps in found[f"{engine} {dtype}"].items():
        assert problems(taps, found["numpy float64"][pair], TOLERANCE[dtype]) == {}
