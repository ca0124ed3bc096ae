"""Training mode agrees too: logits normalized by the batch, updated running statistics, gradients.

On a CPU the conformance kit says this of every engine, layer by layer and in small networks, with its own planted
defects; here it is said on GPUs, which the kit does not ask, and of Keras' float64 on JAX and PyTorch.
"""

from __future__ import annotations

import numpy as np
import pytest

import resnet_core as rn
from engine_pool import MAIN, EnginePool, batch, problems
from resnet_core.analysis import tap_shapes
from resnet_core.numerics import gradient_errors
from resnet_core.spec_files import to_json
from resnet_core.tolerances import TOLERANCES
from resnet_core.weights import Weights
from resnet_core.workers.child import Arrays

NARROW = {"channels": [8, 16, 32], "depths": [1, 2, 1], "classes": 10}
SPECS = {
    "resnet18": rn.spec("resnet18", **NARROW),
    "resnet50_v1": rn.spec("resnet50_v1", **NARROW),
    "resnet18_d2l": rn.spec("resnet18_d2l", **NARROW),
    "resnext50_32x4d": rn.spec("resnext50_32x4d", **NARROW, groups=8, width_per_group=16),
    "resnet20": rn.spec("resnet20", channels=[4, 8, 16], depths=[1, 1, 1]),
    "resnet_v2_50": rn.spec("resnet_v2_50", **NARROW),
    "resnet_v2_50 dense": rn.spec("resnet_v2_50", **NARROW, output_stride=8, global_pool=False),
}
SEED, COUNT = 4, 3


def size(spec: rn.ResNetSpec) -> tuple[int, int]:
    """Small where nothing subsamples early: a central difference must not cross the kink of any ReLU."""
    return (66, 52) if spec.stem_stride == 2 else (11, 8)


LOGITS, STATISTICS, GRADIENTS = (
    TOLERANCES[quantity] for quantity in ("training output", "running statistics", "gradients")
)
#: A central difference of a forward pass is good for about eight digits.
DERIVATIVE = 1e-6


def train(pool: EnginePool, engine: str, spec: rn.ResNetSpec, dtype: str) -> tuple[Arrays, Arrays]:
    """({tap: value}, {running statistic: value}) after one training-mode pass."""
    worker = pool.engine(engine, dtype)
    weights = rn.cast(rn.probe_weights(spec, SEED), dtype)
    text = to_json(spec)
    worker.call("build", weights, spec=text, taps=list(rn.taps(spec)), dtype=dtype)
    _, found = worker.call("train_forward", {"images": batch(spec, size(spec), SEED, COUNT)})
    state = {name.removeprefix("state."): value for name, value in found.items() if name.startswith("state.")}
    for name in rn.parameters(spec):
        np.testing.assert_array_equal(state[name], weights[name], err_msg="a pass must not train")
    taps = {name: value for name, value in found.items() if not name.startswith("state.")}
    return taps, {name: value for name, value in state.items() if name not in rn.parameters(spec)}


@pytest.mark.long
@pytest.mark.parametrize("engine", MAIN)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", SPECS)
def test_train_mode_logits_and_running_statistics_equal_the_reference(
    pool: EnginePool, name: str, dtype: str, engine: str
) -> None:
    spec = SPECS[name]
    true_taps, true_statistics = train(pool, "numpy", spec, "float64")
    taps, statistics = train(pool, engine, spec, dtype)
    assert problems(taps, true_taps, LOGITS[dtype]) == {}
    assert problems(statistics, true_statistics, STATISTICS[dtype]) == {}


@pytest.mark.long
@pytest.mark.parametrize("engine", ["keras_jax", "keras_torch"])
def test_train_mode_of_keras_on_jax_and_pytorch(pool: EnginePool, engine: str) -> None:
    spec = SPECS["resnet50_v1"]
    true_taps, true_statistics = train(pool, "numpy", spec, "float64")
    taps, statistics = train(pool, engine, spec, "float64")
    assert problems(taps, true_taps, LOGITS["float64"]) == {}
    assert problems(statistics, true_statistics, STATISTICS["float64"]) == {}


@pytest.mark.long
@pytest.mark.parametrize("engine", MAIN)
def test_a_wrong_decay_is_caught(pool: EnginePool, engine: str) -> None:
    spec = SPECS["resnet18"]
    truth = train(pool, "numpy", spec, "float64")[1]
    worker = pool.engine(engine, "float64")
    worker.call("defects:plant", name="wrong decay")
    try:
        found = train(pool, engine, spec, "float64")[1]
    finally:
        worker.call("defects:plant", name=None)
    assert set(problems(found, truth, 1e-2)) == set(truth)


@pytest.mark.long
@pytest.mark.parametrize("engine", ["keras", "flax"])
def test_a_biased_running_variance_is_caught(pool: EnginePool, engine: str) -> None:
    spec = SPECS["resnet18"]
    truth = train(pool, "numpy", spec, "float64")[1]
    worker = pool.engine(engine, "float64")
    worker.call("defects:plant_biased_variance", planted=True)
    try:
        found = train(pool, engine, spec, "float64")[1]
    finally:
        worker.call("defects:plant_biased_variance", planted=False)
    wrong = problems(found, truth, 1e-6)
    assert wrong
    assert all(name.endswith("running_var") for name in wrong)


def gradient_problems(pool: EnginePool, engine: str, spec: rn.ResNetSpec, dtype: str) -> dict[str, float]:
    """Parameters whose gradient is not the reference's, by the rule of `resnet compare --level gradients`."""
    weights = rn.probe_weights(spec, SEED)
    images = batch(spec, size(spec), SEED, COUNT)
    found = {}
    for name, kind in (("numpy", "float64"), (engine, dtype)):
        worker = pool.engine(name, kind)
        worker.call("build", rn.cast(weights, kind), spec=to_json(spec), taps=[], dtype=kind)
        before = worker.call("get_weights")[1]
        shape = (COUNT, *tap_shapes(spec, size(spec))["logits"])
        cotangent = np.random.default_rng(SEED).standard_normal(shape)
        found[name] = worker.call("gradients", {"images": images, "cotangent": cotangent})[1]
        after = worker.call("get_weights")[1]
        assert all(np.array_equal(before[name], after[name]) for name in before), "gradients must not change the state"
        assert found[name].keys() == rn.parameters(spec).keys()
    wrong = gradient_errors(found[engine], found["numpy"])
    return {name: error for name, error in wrong.items() if not error <= GRADIENTS[dtype]}


def test_gradients_of_the_reference_are_its_derivatives(pool: EnginePool) -> None:
    """Leaf by leaf this is tests/unit/test_numpy_backward.py; here whole networks, along random directions."""
    for spec in SPECS.values():
        weights = rn.probe_weights(spec, SEED, "float64")
        rng = np.random.default_rng(SEED)
        images = batch(spec, size(spec), SEED, COUNT)
        cotangent = rng.standard_normal((COUNT, *tap_shapes(spec, size(spec))["logits"]))
        directions: Weights = {}
        for name, tensor in rn.parameters(spec).items():
            direction = rng.standard_normal(tensor)
            directions[name] = direction / np.linalg.norm(direction) * np.linalg.norm(weights[name])
        worker = pool.engine("numpy", "float64")
        truth = worker.call(
            "training_tasks:directional_derivatives",
            {
                "images": images,
                "cotangent": cotangent,
                **{f"weight.{name}": value for name, value in weights.items()},
                **{f"direction.{name}": value for name, value in directions.items()},
            },
            spec=to_json(spec),
        )[1]
        worker.call("build", weights, spec=to_json(spec), taps=[], dtype="float64")
        found = worker.call("gradients", {"images": images, "cotangent": cotangent})[1]
        scale = max(abs(float(value)) for value in truth.values())
        for name, value in truth.items():
            assert abs(float((found[name] * directions[name]).sum() - value)) <= DERIVATIVE * scale, name


@pytest.mark.long
@pytest.mark.parametrize("engine", MAIN)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", SPECS)
def test_gradients_equal_the_reference(pool: EnginePool, name: str, dtype: str, engine: str) -> None:
    assert gradient_problems(pool, engine, SPECS[name], dtype) == {}


@pytest.mark.long
@pytest.mark.parametrize("engine", ["keras_jax", "keras_torch"])
def test_gradients_of_keras_on_jax_and_pytorch(pool: EnginePool, engine: str) -> None:
    assert gradient_problems(pool, engine, SPECS["resnet50_v1"], "float64") == {}


def test_gradients_that_take_batch_statistics_for_constants_are_caught(pool: EnginePool) -> None:
    worker = pool.engine("torch", "float64")
    worker.call("training_tasks:inference_gradients", planted=True)
    try:
        assert len(gradient_problems(pool, "torch", SPECS["resnet18"], "float64")) > 10
    finally:
        worker.call("training_tasks:inference_gradients", planted=False)


@pytest.mark.long
def test_gradients_of_a_network_that_misses_a_relu_are_caught(pool: EnginePool) -> None:
    worker = pool.engine("flax", "float64")
    worker.call("defects:plant", name="missing ReLU")
    try:
        assert len(gradient_problems(pool, "flax", SPECS["resnet50_v1"], "float64")) > 10
    finally:
        worker.call("defects:plant", name=None)
