"""Any legal spec, not only the named ones, computes the same in every backend.

30 specs by default, always the same ones; `--long` draws 300 new ones. A spec that fails is shrunk to the
smallest that still does and printed as TOML, ready for `resnet compare FILE`.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

import resnet_core as rn
from engine_pool import MAIN, TOLERANCE, EnginePool, batch, problems
from random_specs import sizes, specs
from resnet_core.analysis import tap_shapes
from resnet_core.spec_files import to_toml
from resnet_core.workers.child import Arrays


def disagreements(
    pool: EnginePool, spec: rn.ResNetSpec, size: tuple[int, int], seed: int
) -> dict[str, dict[str, float]]:
    """{engine: what differs from the reference}, the engines that agree left out."""
    weights, images = rn.probe_weights(spec, seed), batch(spec, size, seed)

    def run(engine: str) -> Arrays:
        return pool.taps(engine, spec, weights, images, "float64")

    found = pool.everywhere(("numpy", *MAIN), run)
    truth = found.pop("numpy")
    assert {tap: value.shape[1:] for tap, value in truth.items()} == tap_shapes(spec, size)
    wrong = {engine: problems(taps, truth, TOLERANCE["float64"]) for engine, taps in found.items()}
    return {engine: errors for engine, errors in wrong.items() if errors}


def test_random_specs_compute_the_same_everywhere(pool: EnginePool, request: pytest.FixtureRequest) -> None:
    long = request.config.getoption("--long")

    @settings(
        max_examples=300 if long else 20,
        derandomize=not long,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
        print_blob=long,
    )
    @given(spec=specs(), data=st.data(), seed=st.integers(0, 2**20))
    def check(spec: rn.ResNetSpec, data: st.DataObject, seed: int) -> None:
        size = data.draw(sizes(spec))
        note(f"# image {size[0]}x{size[1]}, seed {seed}\n{to_toml(spec)}")
        assert disagreements(pool, spec, size, seed) == {}

    check()


def test_a_backend_that_is_wrong_for_random_specs_is_found(pool: EnginePool) -> None:
    """The same check, with a planted defect: a norm's epsilon, which no shape and no count sees."""
    worker = pool.engine("torch", "float64")
    worker.call("defects:plant", name="wrong epsilon")
    try:
        spec = rn.spec("resnet18", depths=[1, 1], channels=[4, 8], classes=3)
        assert set(disagreements(pool, spec, (33, 20), 0)) == {"torch"}
    finally:
        worker.call("defects:plant", name=None)
