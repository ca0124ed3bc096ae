"""The built-in backends are held to the contract by the kit that ships, as anyone's are."""

from __future__ import annotations

import pytest

from engines import CPU, ENGINES, QUICK
from resnet_core.conformance.check import CHECKS
from resnet_core.conformance.kit import PLANTED
from resnet_core.conformance.pytest_plugin import assert_held, report, results_of

#: What Keras on JAX and on PyTorch lacks: its norms of float64 compute in float32.
INEXACT = ("keras_jax", "keras_torch")


@pytest.mark.parametrize("name", [*CHECKS, PLANTED])
@pytest.mark.parametrize(
    "engine", [pytest.param(name, marks=pytest.mark.long if name in INEXACT else ()) for name in ENGINES]
)
def test_the_contract_is_kept(engine: str, name: str) -> None:
    backend, environment = ENGINES[engine]
    found = report(backend, tuple({**QUICK, **CPU, **environment}.items()))
    assert results_of(found, name)
    assert_held(found, name)
    lacking = [result for result in results_of(found, name) if result.status == "not offered"]
    half = {"half precision", PLANTED} if engine == "numpy" else set()
    assert {result.dtype for result in lacking if result.group not in half} <= (
        {"float64"} if engine in INEXACT else set()
    )
