"""What an output stride means: every k-th pixel of the dense network is the network without one.

No referee is needed: both sides are computed here, with the same weights, in evaluation mode, in float64. It holds for
images of any size. Every window of a block is 1x1, or 3x3 with its rate as padding, so that n pixels become
ceil(n / stride), the first of them above the first; ceilings nest, and beyond the last pixel there are zeros either
way. Even kernels and pools with other paddings stand in the stem alone, which comes before any stride that is lost.
Pools in blocks and shortcuts leave out what is beyond the edge, or reflect what has their own phase. What reads a whole
map, a gate or a group norm, sees another map in the dense network: there it cannot hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import accumulate
from operator import mul
from typing import Any

import numpy as np
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

import resnet_core as rn
from network_kinds import KINDS
from random_specs import sizes, specs
from resnet_core import ResNetSpec
from resnet_core.architecture import tree_of
from resnet_core.comparison.narrow import narrowed
from resnet_core.numerics import relative_error
from resnet_core.spec_files import to_toml
from resnet_core.specification import BlockStride
from resnet_core.tolerances import TOLERANCES

#: float64; right code reaches 9e-16 over 1,200 random specs.
TOLERANCE = TOLERANCES["output"]["float64"]
TINY: dict[str, Any] = {"depths": (1, 2, 2), "channels": (4, 6, 8), "classes": 3}


def running_strides(spec: ResNetSpec) -> list[int]:
    """Input pixels per pixel behind the stem and behind every stage, without an output stride."""
    return list(accumulate(spec.stage_strides, mul, initial=spec.stem_total_stride))


def errors(spec: ResNetSpec, size: tuple[int, int], seed: int = 0) -> dict[tuple[int, str], float]:
    """{(output stride, tap): max|a - b| / max|b|} of every reachable output stride; infinite where shapes differ."""
    strided = rn.spec(spec, output_stride=None, global_pool=False, head_pool="average")
    weights = rn.probe_weights(strided, seed, dtype="float64")
    images = np.random.default_rng(seed).standard_normal((2, *size, spec.in_channels))
    running = running_strides(strided)
    at_tap = dict(zip(rn.taps(strided), [*running[0 if spec.stem else 1 :], running[-1]], strict=True))

    def predict(spec: ResNetSpec) -> dict[str, np.ndarray]:
        model = rn.build(spec, "numpy", weights=weights, taps=rn.taps(spec), dtype="float64")
        return rn.load_backend("numpy").predict(model, images)

    truth, found = predict(strided), {}
    for output_stride in sorted(set(running)):
        for tap, dense in predict(rn.spec(strided, output_stride=output_stride)).items():
            step = at_tap[tap] // min(at_tap[tap], output_stride)
            found[output_stride, tap] = relative_error(dense[:, ::step, ::step], truth[tap])
    return found


def local(spec: ResNetSpec) -> ResNetSpec:
    """The spec without what reads a whole map."""
    norm = "layer" if spec.norm == "group" else spec.norm
    return rn.spec(spec, attention="none", norm=norm, conv_padding="symmetric")


def wrong(spec: ResNetSpec, size: tuple[int, int], seed: int = 0) -> dict[tuple[int, str], float]:
    return {where: error for where, error in errors(spec, size, seed).items() if not error <= TOLERANCE}


def narrow(name: str) -> ResNetSpec:
    """The named spec, narrow and with at most two blocks a stage: a third would repeat one of them."""
    spec = rn.spec(name)
    return rn.spec(narrowed(spec), depths=[min(depth, 2) for depth in spec.depths], classes=3)


@pytest.mark.parametrize("size", [(64, 70), (67, 45)])
@pytest.mark.parametrize("name", [name for name in KINDS if name != "flax_resnet50"])  # without "same", it is resnet50
def test_every_kth_pixel_of_a_dense_network_is_the_strided_network(name: str, size: tuple[int, int]) -> None:
    spec = local(narrow(name))
    if spec.stem_total_stride == 1:
        size = (size[0] // 2, size[1] // 2)  # CIFAR's, which are slow on large maps
    assert wrong(spec, size) == {}


@settings(max_examples=50, deadline=None)  # up to five networks an example
@given(spec=specs(), data=st.data(), seed=st.integers(0, 2**20))
def test_every_kth_pixel_of_random_dense_networks_is_the_strided_network(
    spec: ResNetSpec, data: st.DataObject, seed: int
) -> None:
    spec, size = local(spec), data.draw(sizes(spec))
    note(f"# image {size[0]}x{size[1]}, seed {seed}\n{to_toml(spec)}")
    assert wrong(spec, size, seed) == {}


@pytest.mark.parametrize("stride_unit", ["first", "last"])
@pytest.mark.parametrize("shortcut", ["projection", "projection_all", "subsample", "pad"])
@pytest.mark.parametrize("preactivation", [False, True])
@pytest.mark.parametrize(("block", "stride_on"), [("basic", "3x3"), ("bottleneck", "3x3"), ("bottleneck", "1x1")])
def test_it_holds_for_every_kind_of_block(
    block: str, stride_on: str, preactivation: bool, shortcut: str, stride_unit: str
) -> None:
    """Strides in every stage, 3 among them, once without a change of width; groups; a map that ends up as one pixel."""
    kind: dict[str, Any] = {"block": block, "stride_on": stride_on, "shortcut": shortcut, "stride_unit": stride_unit}
    shape: dict[str, Any] = {"depths": (1, 2, 2), "channels": (4, 4, 8), "strides": (2, 3, 2), "groups": 2}
    spec = ResNetSpec(**shape, **kind, preactivation=preactivation, stem=False, in_channels=4)
    assert wrong(spec, (25, 12)) == {}


@pytest.mark.parametrize("antialias", ["none", "blur", "average"])
@pytest.mark.parametrize("shortcut_pool", ["none", "blur", "average"])
@pytest.mark.parametrize("shortcut", ["projection", "subsample", "pad"])
@pytest.mark.parametrize(("block", "stride_on"), [("basic", "3x3"), ("bottleneck", "3x3"), ("bottleneck", "1x1")])
def test_it_holds_for_every_kind_of_pool(
    block: str, stride_on: str, shortcut: str, shortcut_pool: str, antialias: str
) -> None:
    """Large maps, since a blur reflects as many pixels as its rate."""
    kind: dict[str, Any] = {"block": block, "stride_on": stride_on, "shortcut": shortcut}
    pools: dict[str, Any] = {"antialias": antialias, "shortcut_pool": shortcut_pool}
    shape: dict[str, Any] = {"depths": (1, 2, 2), "channels": (4, 4, 8), "strides": (2, 3, 2)}
    spec = ResNetSpec(**shape, **kind, **pools, stem=False, in_channels=4)
    assert wrong(spec, (25, 26)) == {}


@contextmanager
def planted(rates: Callable[[BlockStride], BlockStride]) -> Iterator[None]:
    """Every block's rates changed by `rates`."""
    right = ResNetSpec.block_strides

    def block_strides(spec: ResNetSpec) -> list[list[BlockStride]]:
        return [[rates(block) for block in stage] for stage in right(spec)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ResNetSpec, "block_strides", block_strides)
        tree_of.cache_clear()
        try:
            yield
        finally:
            tree_of.cache_clear()


def one_rate_a_block(block: BlockStride) -> BlockStride:
    """TF-slim's rule, taken to blocks that it was not made for: what stands behind a lost stride keeps the old rate."""
    return block._replace(dilation_after=block.dilation)


def new_rate_at_once(block: BlockStride) -> BlockStride:
    """The other slip: the convolution that loses its stride has the new rate too."""
    return block._replace(dilation=block.dilation_after)


BASIC: dict[str, Any] = {"block": "basic"}
ON_3X3: dict[str, Any] = {"block": "bottleneck"}
ON_1X1: dict[str, Any] = {"block": "bottleneck", "stride_on": "1x1"}


@pytest.mark.parametrize("stride_unit", ["first", "last"])
@pytest.mark.parametrize(
    ("rates", "kind"),
    [
        (one_rate_a_block, BASIC),
        (one_rate_a_block, ON_1X1),
        (new_rate_at_once, BASIC),
        (new_rate_at_once, ON_3X3),
    ],
)
def test_a_wrong_rate_is_caught(
    rates: Callable[[BlockStride], BlockStride], kind: dict[str, Any], stride_unit: str
) -> None:
    spec = ResNetSpec(**TINY, **kind, stride_unit=stride_unit)
    assert wrong(spec, (67, 50)) == {}
    with planted(rates):
        found = errors(spec, (67, 50))
    assert 1e-3 < found[8, "logits"] < float("inf")
    assert 1e-3 < found[4, "logits"] < float("inf")
    assert found[16, "logits"] == 0  # no stride is lost


@pytest.mark.parametrize(("rates", "kind"), [(one_rate_a_block, ON_3X3), (new_rate_at_once, ON_1X1)])
def test_where_the_rules_agree_nothing_is_found(
    rates: Callable[[BlockStride], BlockStride], kind: dict[str, Any]
) -> None:
    """The rule of TF-slim and torchvision is right for their blocks; a 1x1 has no rate."""
    with planted(rates):
        assert wrong(ResNetSpec(**TINY, **kind), (67, 50)) == {}


def test_a_mean_over_the_map_is_of_more_pixels() -> None:
    """What docs/spec.md excepts: a global pool, and the batch statistics of training mode."""
    images = np.random.default_rng(0).standard_normal((2, 67, 50, 3))

    def run(output_stride: int | None, global_pool: bool, training: bool) -> Any:
        spec = ResNetSpec(**TINY, block="basic", global_pool=global_pool, output_stride=output_stride)
        weights = rn.probe_weights(spec, dtype="float64")
        return rn.build(spec, "numpy", weights=weights, dtype="float64")(images, training=training)

    assert relative_error(run(8, True, False), run(None, True, False)) > 1e-3
    assert relative_error(run(8, False, True)[:, ::2, ::2], run(None, False, True)) > 1e-3
