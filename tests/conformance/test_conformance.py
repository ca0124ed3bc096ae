"""The built-in backends are held to the contract by the kit that ships, as anyone's are."""

from __future__ import annotations

import pytest

from engines import CPU, ENGINES, QUICK
from resnet_core.conformance.check import CHECKS
from resnet_core.conformance.kit import GROUPS, PLANTED
from resnet_core.conformance.pytest_plugin import assert_held, report, results_of
from resnet_core.weights import DTYPES

#: What Keras on JAX and on PyTorch lacks: its norms of float64 compute in float32. onnxruntime has no float64 at all.
INEXACT = ("keras_jax", "keras_torch", "onnx")
#: What a backend for inference does not offer.
TRAINING = {"trainer", "training mode", "gradients"}


#: Whose graphs are slow to make. A planted defect stands before a backend, and what has to see it is the kit: that it
#: does is said with PyTorch and NumPy, and of these in the long profile, as what float32 and half precision make of it.
SLOW = ("keras", "flax")


def long(engine: str, name: str) -> bool:
    return engine in ("keras_jax", "keras_torch") or (
        engine in SLOW and (name == PLANTED or CHECKS[name].group == "half precision")
    )


@pytest.mark.parametrize(
    ("engine", "name"),
    [
        pytest.param(engine, name, marks=pytest.mark.long if long(engine, name) else ())
        for engine in ENGINES
        for name in [*CHECKS, PLANTED]
    ],
)
def test_the_contract_is_kept(engine: str, name: str, request: pytest.FixtureRequest, device: str) -> None:
    backend, environment = ENGINES[engine]
    everything = request.config.getoption("--long") or device == "gpu" or not long(engine, PLANTED)
    groups = tuple(group for group in GROUPS if everything or group not in (PLANTED, "half precision"))
    dtypes = DTYPES if everything or engine not in SLOW else ("float64",)
    found = report(backend, tuple({**QUICK, **CPU, **environment}.items()), groups, dtypes)
    assert results_of(found, name)
    assert_held(found, name)
    lacking = [result for result in results_of(found, name) if result.status == "not offered"]
    if engine not in ("torch", "flax", "keras_jax"):  # of which several processes train a network
        lacking = [result for result in lacking if not result.message.endswith(("has no join", "and no join"))]
    half = {"half precision", PLANTED} if engine in ("numpy", "onnx") else set()
    half |= TRAINING if engine == "onnx" else set()
    assert {result.dtype for result in lacking if result.group not in half} <= (
        {"float64"} if engine in INEXACT else set()
    )
