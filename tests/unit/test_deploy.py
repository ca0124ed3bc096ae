"""The deploy form: folding a network's norms changes nothing that it computes, and a slip in folding is seen."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import resnet_core as rn
import resnet_numpy
from network_kinds import EVERY_NAME
from random_specs import sizes, specs
from resnet_core.comparison.narrow import narrowed
from resnet_core.deploy_form import fold
from resnet_core.deployment import undeploy
from resnet_core.errors import InputError
from resnet_core.numerics import relative_error
from resnet_core.tree import BatchNorm, Dropout, DropPath, FrozenNorm, leaves

LIMIT = 1e-12


def outputs(spec: rn.ResNetSpec, weights: Mapping[str, np.ndarray], size: tuple[int, int]) -> dict[str, np.ndarray]:
    images = np.random.default_rng(0).standard_normal((2, *size, spec.in_channels))
    model = resnet_numpy.build(spec, weights=weights, taps=rn.taps(spec), dtype="float64")
    return resnet_numpy.predict(model, images)


def folding_error(
    spec: rn.ResNetSpec,
    size: tuple[int, int],
    planted: Mapping[str, np.ndarray] | None = None,
) -> float:
    """The largest error of a tap of the folded network; what is folded may be `planted` instead."""
    weights = rn.probe_weights(spec, 0, "float64")
    folded, deployed = rn.deploy(planted or weights, spec)
    found, truth = outputs(deployed, folded, size), outputs(spec, weights, size)
    return max(relative_error(found[tap], true) for tap, true in truth.items())


@pytest.mark.parametrize("name", EVERY_NAME)
def test_the_folded_network_computes_the_same(name: str) -> None:
    spec = narrowed(rn.spec(name))
    assert folding_error(spec, spec.input_size) < LIMIT
    kinds = [type(leaf) for _, leaf in leaves(rn.layer_tree(rn.spec(spec, deploy=True)))]
    assert not {Dropout, DropPath} & set(kinds)
    norms = kinds.count(BatchNorm) + kinds.count(FrozenNorm)
    # What stands in front of a block's first convolution cannot be folded, nor what closes a pre-activation network.
    assert norms == (sum(spec.depths) + 1 if spec.preactivation and spec.norm == "batch" else 0)


@pytest.mark.parametrize("name", EVERY_NAME)
def test_norms_that_are_put_back_change_nothing(name: str) -> None:
    spec = narrowed(rn.spec(name, deploy=True))
    weights = rn.probe_weights(spec, 0, "float64")
    if spec.standardize_weights:
        with pytest.raises(InputError, match="the kernels before that are not kept"):
            undeploy(weights, spec)
        return
    normed, own = undeploy(weights, spec)
    assert own == narrowed(rn.spec(name))
    found, truth = outputs(own, normed, spec.input_size), outputs(spec, weights, spec.input_size)
    assert max(relative_error(found[tap], true) for tap, true in truth.items()) < LIMIT


@settings(max_examples=60, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(spec=specs(), data=st.data())
def test_random_specs_fold_too(spec: rn.ResNetSpec, data: st.DataObject) -> None:
    size = data.draw(sizes(spec))
    assert folding_error(rn.spec(spec, deploy=False), size) < LIMIT


@pytest.mark.parametrize(
    ("swapped", "by"),
    [("weight", "running_var"), ("bias", "running_mean"), ("running_mean", "bias"), ("running_var", "weight")],
)
def test_a_norm_that_is_folded_wrongly_is_seen(swapped: str, by: str) -> None:
    spec = narrowed(rn.spec("resnet50"))
    weights = rn.probe_weights(spec, 0, "float64")
    wrong = weights | {f"stage2.block1.norm2.{swapped}": weights[f"stage2.block1.norm2.{by}"]}
    assert folding_error(spec, spec.input_size, wrong) > 1e-4


def test_another_epsilon_is_seen() -> None:
    spec = narrowed(rn.spec("resnet50"))
    weights = rn.probe_weights(spec, 0, "float64")
    folded, deployed = rn.deploy(weights, rn.spec(spec, norm_epsilon=1.1e-5))
    found, truth = (outputs(*pair, spec.input_size)["logits"] for pair in ((deployed, folded), (spec, weights)))
    assert 1e-8 < relative_error(found, truth) < 1e-4


def test_folding_twice_changes_nothing() -> None:
    spec = narrowed(rn.spec("resnet50d", attention="se", standardize_weights=True))
    folded, deployed = rn.deploy(rn.probe_weights(spec), spec)
    again, same = rn.deploy(folded, deployed)
    assert same == deployed
    assert all(np.array_equal(again[name], folded[name]) for name in folded)
    tree = rn.layer_tree(deployed)
    assert fold(tree) == tree


def test_weights_keep_their_dtype_and_fit_the_spec(tmp_path: Path) -> None:
    spec = rn.spec("resnet20")
    for dtype in ("float32", "float64"):
        folded, deployed = rn.deploy(rn.initialize(spec, dtype=dtype), spec)
        assert {array.dtype.name for array in folded.values()} == {dtype}
        assert {name: array.shape for name, array in folded.items()} == rn.state(deployed)
    rn.save_weights(tmp_path / "w.safetensors", folded, deployed)
    assert rn.load_weights(tmp_path / "w.safetensors")[1].deploy


def test_a_folded_network_is_not_trained(tmp_path: Path) -> None:
    spec = rn.spec("resnet20", deploy=True)
    images, labels = np.zeros((8, 32, 32, 3), np.uint8), np.arange(8) % 10
    np.savez(tmp_path / "data.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    line = re.escape("deploy: received true, and training expects false")
    for refused in (
        lambda: rn.train(spec, data=tmp_path / "data.npz", backend="numpy", out=tmp_path / "run"),
        lambda: rn.source(spec, "torch", train=True),
        lambda: rn.compare(spec, level="training"),
    ):
        with pytest.raises(InputError, match=line):
            refused()
